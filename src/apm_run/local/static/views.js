// The lists: services, transactions, traces, errors, dependencies, metrics, logs.

import { ago, bytes, colour, duration, h, link, moment, number, outcome, percent, rate, round, serviceName } from "./dom.js";
import { histogram, line, spark } from "./charts.js";
import { errorBody } from "./detail.js";
import { table } from "./table.js";

const figures = (unit) => [
  { title: "Avg. duration", class: "num", cell: (row) => duration(row.average), value: (row) => row.average },
  { title: "p95", class: "num", cell: (row) => duration(row.p95), value: (row) => row.p95 },
  { title: "Throughput", class: "num chart", cell: (row) => [spark(row.series, `${number(row.count)} ${unit}`), h("span", null, rate(row.throughput))], value: (row) => row.throughput },
  { title: "Failure rate", class: "num", cell: (row) => h("span", { class: row.failure_rate ? "bad-text" : null }, percent(row.failure_rate)), value: (row) => row.failure_rate },
  { title: "Count", class: "num", cell: (row) => number(row.count), value: (row) => row.count },
];

function heading(title, ...more) {
  const words = [title].flat().filter((part) => typeof part === "string").join("");
  document.title = `${words} · apm-run local`;
  return h("div.heading", null, h("h1", null, title), more);
}

/** What to do when nothing has come in yet. */
function nothingYet() {
  const command = (text) => h("pre.command", null, h("code", null, text));
  return h(
    "section.empty", { "data-key": "empty" },
    h("h1", null, "Waiting for the first event"),
    h("p", null, "This page fills by itself as soon as a program reports to ", h("b", null, location.origin), "."),
    h("ol", null,
      h("li", null, h("h2", null, "A Python program, with nothing changed in it"), command("apm-run --local python app.py"),
        h("p.dim", null, "or, to use this receiver: "), command(`apm-run --server-url ${location.origin} python app.py`)),
      h("li", null, h("h2", null, "Any Elastic APM agent: Java, Node.js, .NET, Go, Python …"),
        command(`export ELASTIC_APM_SERVER_URL=${location.origin}`),
        h("p.dim", null, "No token is needed. Everything stays on this machine."))),
  );
}

async function services({ ask, redraw }) {
  const rows = await ask("services");
  if (!rows.length) return nothingYet();
  return [
    heading("Services"),
    table([
      { title: "Service", cell: (row) => serviceName(row.service), value: (row) => row.service, down: false },
      { title: "Runtime", cell: (row) => [row.runtime ?? row.language ?? "–", row.framework && h("span.dim", null, ` · ${row.framework}`)] },
      { title: "Environment", cell: (row) => row.environment ?? "–", value: (row) => row.environment, down: false },
      ...figures("transactions"),
      { title: "Errors", class: "num", cell: (row) => h("span", { class: row.errors ? "bad-text" : null }, number(row.errors)), value: (row) => row.errors },
      { title: "Last seen", class: "num", cell: (row) => ago(row.last_seen), value: (row) => row.last_seen },
    ], rows, { id: "services", key: (row) => row.service, href: (row) => link("service", { name: row.service }), filter: (row) => row.service, empty: "", redraw }),
  ];
}

const TABS = ["transactions", "traces", "errors", "dependencies", "metrics", "logs", "about"];

async function service(context) {
  const { name, tab = "transactions" } = context.parameters;
  const known = await context.ask("services");
  const own = known.find((row) => row.service === name);
  if (!own) return missing("service");
  const tabs = h("nav.tabs", { "aria-label": `Parts of ${name}` },
    TABS.map((each) => h("a", { href: link("service", { name, tab: each === "transactions" ? null : each }), "aria-current": each === tab ? "page" : null }, each)));
  const draw = { transactions, traces: traceList, errors: errorList, dependencies: dependencyList, metrics, logs: logList, about }[tab] ?? transactions;
  return [
    heading([h("i.swatch.large", { class: colour(name) }), name], h("span.dim", null, [own.runtime, own.framework, own.environment].filter(Boolean).join(" · "))),
    tabs,
    h("div", { "data-key": tab }, await draw(context, name, own)),
  ];
}

function missing(what) {
  return h("section.empty", null, h("h1", null, `No such ${what}`), h("p", null, "It may have been evicted, cleared, or lie outside the time range. ", h("a", { href: "#/services" }, "All services")));
}

async function transactions({ ask, redraw }, name) {
  const { groups, all } = await ask("transactions", { service: name });
  const most = Math.max(...groups.map((group) => group.total), 1);
  return [
    all > groups.length && h("p.dim", null, `The ${groups.length} with the most impact of ${all}.`),
    table([
      { title: "Name", cell: (row) => row.name, value: (row) => row.name, down: false, class: "name" },
      { title: "Type", cell: (row) => h("span.badge", null, row.type), value: (row) => row.type, down: false },
      ...figures("transactions"),
      { title: "Impact", class: "chart", value: (row) => row.total, cell: (row) => h("span.impact", { title: `${duration(row.total)} in all` }, h("i", { style: { width: `${(100 * row.total) / most}%` } })) },
    ], groups, {
      id: `transactions ${name}`, key: (row) => `${row.type}/${row.name}`, filter: (row) => row.name, empty: "No transactions in this time.", redraw,
      href: (row) => link("transaction", { service: row.service, type: row.type, name: row.name }),
    }),
  ];
}

function facts(pairs) {
  return h("dl.facts", null, pairs.map(([title, value, kind]) => h("div", null, h("dt", null, title), h("dd", { class: kind ?? null }, value))));
}

async function transaction({ ask, parameters, redraw }) {
  const found = await ask("transaction", parameters);
  if (!found) return missing("transaction");
  return [
    h("p.path", null, h("a", { href: link("service", { name: parameters.service }) }, serviceName(parameters.service)), " / ", parameters.type),
    heading(parameters.name),
    facts([
      ["Average", duration(found.average)], ["p95", duration(found.p95)], ["Throughput", rate(found.throughput)],
      ["Failure rate", percent(found.failure_rate), found.failure_rate ? "bad-text" : null], ["Transactions", number(found.count)],
    ]),
    h("section.card", null, h("h2", null, "Latency distribution"), histogram(found.distribution, found.p95)),
    h("h2", null, "Samples"),
    table([
      { title: "Time", cell: (row) => moment(row.ts, true), value: (row) => row.ts },
      { title: "Duration", class: "num", cell: (row) => duration(row.duration), value: (row) => row.duration },
      { title: "Outcome", cell: (row) => outcome(row.outcome), value: (row) => row.outcome },
      { title: "Result", cell: (row) => row.result ?? "–", value: (row) => row.result },
      { title: "Trace", class: "mono", cell: (row) => row.trace_id },
    ], found.samples, { id: "samples", key: (row) => row.id, href: (row) => link("trace", { id: row.trace_id, item: `transactions:${row.id}` }), empty: "", redraw }),
  ];
}

async function traces(context) {
  return [heading("Traces"), await traceList(context)];
}

async function traceList({ ask, redraw }, name) {
  const rows = await ask("traces", { service: name });
  return table([
    { title: "Name", cell: (row) => row.name, value: (row) => row.name, down: false, class: "name" },
    { title: "Service", cell: (row) => serviceName(row.service), value: (row) => row.service, down: false },
    { title: "Duration", class: "num", cell: (row) => duration(row.duration), value: (row) => row.duration },
    { title: "Outcome", cell: (row) => outcome(row.outcome), value: (row) => row.outcome },
    { title: "Result", cell: (row) => row.result ?? "–", value: (row) => row.result },
    { title: "Services", class: "num", cell: (row) => row.services, value: (row) => row.services },
    { title: "Spans", class: "num", cell: (row) => number(row.spans), value: (row) => row.spans },
    { title: "Errors", class: "num", cell: (row) => h("span", { class: row.errors ? "bad-text" : null }, row.errors), value: (row) => row.errors },
    { title: "Time", class: "num", cell: (row) => moment(row.ts), value: (row) => row.ts },
  ], rows, {
    id: `traces ${name ?? ""}`, key: (row) => row.id, href: (row) => link("trace", { id: row.trace_id }), redraw, empty: "No traces in this time.",
    filter: (row) => `${row.name} ${row.service} ${row.result} ${row.outcome} ${row.trace_id}`,
  });
}

async function errors(context) {
  return [heading("Errors"), await errorList(context)];
}

async function errorList({ ask, redraw }, name) {
  const rows = await ask("errors", { service: name });
  return table([
    { title: "Error", class: "name", value: (row) => row.type ?? row.message, down: false, cell: (row) => [h("b", null, row.type ?? "log"), row.message && h("span.message", null, row.message)] },
    { title: "Where", cell: (row) => h("span.mono.small", null, row.culprit ?? "–"), value: (row) => row.culprit, down: false },
    { title: "Service", cell: (row) => serviceName(row.service), value: (row) => row.service, down: false },
    { title: "Handled", cell: (row) => (row.handled === 0 ? h("span.badge.bad", null, "unhandled") : row.handled ? "yes" : "–"), value: (row) => row.handled },
    { title: "Count", class: "num", cell: (row) => number(row.count), value: (row) => row.count },
    { title: "Last seen", class: "num", cell: (row) => ago(row.last), value: (row) => row.last },
  ], rows, {
    id: `errors ${name ?? ""}`, key: (row) => `${row.service} ${row.grouping}`, redraw, empty: "No errors in this time.",
    href: (row) => link("error", { service: row.service, grouping: row.grouping }), filter: (row) => `${row.type} ${row.message} ${row.culprit}`,
  });
}

async function error({ ask, parameters, redraw }) {
  const { service: name, grouping, event } = parameters;
  const found = await ask("error", { service: name, grouping });
  if (!found) return missing("error");
  const place = Math.max(found.occurrences.findIndex((each) => String(each.id) === event), 0);
  const current = found.occurrences[place];
  const whole = await ask("event", { table: "errors", id: current.id });
  const to = (index) => link("error", { service: name, grouping, event: found.occurrences[index]?.id });
  const step = (index, words) => (found.occurrences[index] ? h("a.button", { href: to(index) }, words) : h("span.button.off", null, words));
  return [
    h("p.path", null, h("a", { href: link("service", { name, tab: "errors" }) }, serviceName(name)), " / error"),
    heading(current.type ?? "Logged error"),
    facts([["Occurrences", number(found.count)], ["Last", moment(found.occurrences[0].ts)], ["Culprit", current.culprit ?? "–", "mono"], ["Over time", spark(found.series, `${found.count} occurrences`)]]),
    h("div.steps", null, step(place + 1, "‹ Older"), h("span", null, `${moment(current.ts, true)} · ${place + 1} of ${found.count}`), step(place - 1, "Newer ›"),
      current.trace_id && h("a.button", { href: link("trace", { id: current.trace_id }) }, "Show trace"), current.transaction_name && h("span.dim", null, `in ${current.transaction_name}`)),
    whole ? h("section.card", { "data-key": current.id }, errorBody(whole)) : missing("event"),
  ];
}

async function dependencies(context) {
  return [heading("Dependencies"), await dependencyList(context)];
}

async function dependencyList({ ask, redraw }, name) {
  const rows = await ask("dependencies", { service: name });
  return table([
    { title: "Dependency", cell: (row) => row.target, value: (row) => row.target, down: false, class: "name" },
    { title: "Type", cell: (row) => h("span.badge", null, [row.type, row.subtype].filter(Boolean).join(" / ")), value: (row) => row.type, down: false },
    { title: "Used by", cell: (row) => serviceName(row.service), value: (row) => row.service, down: false },
    ...figures("calls"),
    { title: "Time in all", class: "num", cell: (row) => duration(row.total), value: (row) => row.total },
  ], rows, {
    id: `dependencies ${name ?? ""}`, key: (row) => `${row.target} ${row.service} ${row.type} ${row.subtype}`, redraw,
    empty: "No calls to other services or databases in this time.", filter: (row) => `${row.target} ${row.service}`,
  });
}

function unit(name) {
  if (/bytes|memory|size/.test(name)) return bytes;
  if (/\.pct$/.test(name)) return percent;
  if (/\.us$/.test(name)) return (value) => duration(value / 1000);
  return (value) => round(value);
}

async function metrics({ ask }, name) {
  const series = await ask("metrics", { service: name });
  if (!series.length) return h("p.none", null, "No metrics in this time. Agents send them every 30 s.");
  return h("div.metrics", null, series.map((each) => {
    const format = unit(each.name);
    return h("figure.card", { "data-key": `${each.name} ${each.labels}` },
      h("figcaption", null, h("b", null, each.name), h("span.value", null, format(each.points[each.points.length - 1][1])), each.labels && h("span.dim.small", null, each.labels)),
      line(each.points, format),
      h("p.dim.small", null, `${moment(each.points[0][0])} – ${moment(each.points[each.points.length - 1][0])}`));
  }));
}

async function logs(context) {
  return [heading("Logs"), await logList(context)];
}

async function logList({ ask, redraw }, name) {
  const rows = await ask("logs", { service: name });
  return logTable(rows, `logs ${name ?? ""}`, redraw);
}

/** Log lines, newest first as they come; each leads to its trace. */
export function logTable(rows, id, redraw) {
  return table([
    { title: "Time", class: "mono small", cell: (row) => moment(row.ts, true), value: (row) => row.ts },
    { title: "Level", cell: (row) => h("span.badge", { class: /err|crit|fatal/i.test(row.level ?? "") ? "bad" : /warn/i.test(row.level ?? "") ? "warn" : null }, row.level ?? "–"), value: (row) => row.level },
    { title: "Service", cell: (row) => serviceName(row.service), value: (row) => row.service, down: false },
    { title: "Message", class: "mono wide", cell: (row) => [row.logger && h("span.dim", null, `${row.logger}  `), row.message ?? ""] },
    { title: "Trace", cell: (row) => row.trace_id && h("a", { href: link("trace", { id: row.trace_id }) }, "trace") },
  ], rows, { id, key: (row) => row.id, filter: (row) => `${row.message} ${row.logger} ${row.level}`, empty: "No logs in this time. Agents send them when log_sending is on.", redraw });
}

async function about({ ask }, name, own) {
  const rows = await ask("transactions", { service: name });
  const pair = (title, value) => value && [title, value];
  return [
    facts([
      pair("Agent", `${own.agent} ${own.agent_version}`), pair("Language", own.language), pair("Runtime", own.runtime), pair("Framework", own.framework),
      pair("Version", own.version), pair("Environment", own.environment), pair("First seen", moment(own.first_seen)), pair("Last seen", moment(own.last_seen)),
      ["Transaction groups", number(rows.all)], ["Spans", number(own.spans)], ["Errors", number(own.errors)],
    ].filter(Boolean)),
    h("p.dim", null, "The metadata of a single event stands in its details."),
  ];
}

async function rejected({ ask }) {
  const rows = await ask("rejections");
  return [
    heading("Rejected"),
    h("p", null, "What agents sent and an APM Server would refuse, too. The last hundred."),
    rows.length ? h("div.rejections", null, rows.map((row) => h("details.card", { "data-key": `${row.ts} ${row.message}` },
      h("summary", null, h("span.bad-text", null, row.message), h("span.dim", null, ` ${moment(row.ts, true)}`)), h("pre", null, row.document || "(no document)")))) : h("p.none", null, "Nothing was rejected."),
  ];
}

export const views = { services, service, transaction, traces, errors, error, dependencies, logs, rejected };
