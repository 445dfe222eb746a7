// One trace: the waterfall of all its services, its errors and its logs.

import { colour, duration, h, link, moment, number, outcome, serviceName } from "./dom.js";
import { errorBody, eventBody, openDrawer } from "./detail.js";
import { logTable } from "./views.js";

const folded = new Set();
let shown = ""; // what is drawn, as text
const TICKS = 6;

/** The view of a trace; `item` in the address ("spans:12") is shown in full at the side. */
export async function trace({ ask, parameters, redraw, news }) {
  const { id, item, tab } = parameters;
  const found = await ask("trace", { id });
  const text = JSON.stringify(found);
  // Most events belong to other traces: thousands of lines are not built anew for them.
  if (news && text === shown) return null;
  shown = text;
  if (!found) return h("section.empty", null, h("h1", null, "No such trace"), h("p", null, "It may have been evicted or cleared. ", h("a", { href: "#/traces" }, "All traces")));
  const items = [
    ...found.transactions.map((each) => ({ ...each, kind: "transactions" })),
    ...found.spans.map((each) => ({ ...each, kind: "spans" })),
  ];
  const root = arrange(items);
  const times = [...items, ...found.errors, ...found.logs].map((each) => each.ts);
  const start = items.length ? Math.min(...items.map((each) => each.ts)) : Math.min(...times);
  const end = Math.max(...items.map((each) => each.ts + each.duration * 1000), start + 1);
  const scale = { start, span: end - start };
  const first = root[0];
  document.title = `${first?.name ?? "Trace"} · apm-run local`;
  const services = [...new Set(items.map((each) => each.service))];
  const go = (more) => link("trace", { id, ...more });
  if (item) await showItem(ask, item, items, found.errors, scale, go({ tab }));
  const tabs = [["", "Timeline", items.length], ["errors", "Errors", found.errors.length], ["logs", "Logs", found.logs.length]];
  return [
    h("p.path", null, h("a", { href: "#/traces" }, "Traces"), " / ", h("span.mono", null, id)),
    h("div.heading", null, h("h1", null, first?.name ?? "Trace"), first && outcome(first.outcome), first?.result && h("span.dim", null, first.result)),
    h("dl.facts", null,
      [["Duration", duration(scale.span / 1000)], ["Started", moment(start, true)], ["Services", services.length], ["Spans", number(found.spans.length)], ["Errors", number(found.errors.length)]]
        .map(([title, value]) => h("div", null, h("dt", null, title), h("dd", { class: title === "Errors" && found.errors.length ? "bad-text" : null }, value)))),
    h("nav.tabs", { "aria-label": "Parts of the trace" }, tabs.map(([name, title, count]) => h("a", { href: go({ tab: name }), "aria-current": (tab ?? "") === name ? "page" : null }, title, h("span.count", null, count)))),
    (found.spans.length >= found.most || found.transactions.length >= found.most) && h("p.dim", null, `The first ${number(found.most)} spans are shown.`),
    tab === "logs" ? logTable(found.logs, "trace logs", redraw)
      : tab === "errors" ? errorLines(found.errors, go)
      : [h("p.legend", null, services.map((name) => serviceName(name))), waterfall(root, found.errors, scale, item, go, redraw)],
  ];
}

/** Put children under their parents, in order of start; what has no parent here is a root of its own. */
function arrange(items) {
  const known = new Map();
  for (const each of items) {
    each.children = [];
    if (!known.has(each.event_id)) known.set(each.event_id, each);
  }
  const roots = [];
  for (const each of items) {
    const parent = known.get(each.parent_id);
    if (parent && parent !== each && !above(each, parent, known)) parent.children.push(each);
    else {
      each.orphan = Boolean(each.parent_id) && !parent;
      roots.push(each);
    }
  }
  const order = (one, other) => one.ts - other.ts || other.duration - one.duration;
  for (const each of items) each.children.sort(order);
  return roots.sort((one, other) => one.orphan - other.orphan || order(one, other));
}

/** Is `each` an ancestor of `parent`? Ids come from outside: they may well run in a circle. */
function above(each, parent, known) {
  const seen = new Set();
  for (let current = parent; current && !seen.has(current); current = known.get(current.parent_id)) {
    if (current === each) return true;
    seen.add(current);
  }
  return false;
}

function waterfall(roots, errors, scale, selected, go, redraw) {
  const lines = [];
  const walk = (each, depth) => {
    lines.push([each, depth]);
    if (!folded.has(key(each))) each.children.forEach((child) => walk(child, depth + 1));
  };
  roots.forEach((each) => walk(each, 0));
  const failed = new Map();
  for (const error of errors) failed.set(error.parent_id, [...(failed.get(error.parent_id) ?? []), error]);
  const ticks = Array.from({ length: TICKS + 1 }, (_, index) => h("span", { style: { left: `${(100 * index) / TICKS}%` } }, index ? duration((scale.span * index) / TICKS / 1000) : "0"));
  return h("div.waterfall", { role: "tree", "aria-label": "Timeline of the trace", onkeydown: (event) => move(event, redraw) },
    h("div.ruler", { "aria-hidden": "true" }, h("div", null), h("div.ticks", null, ticks)),
    lines.map(([each, depth], index) => row(each, depth, index, failed.get(each.event_id) ?? [], scale, selected, go, redraw)));
}

function key(each) {
  return `${each.kind}:${each.id}`;
}

function row(each, depth, index, errors, scale, selected, go, redraw) {
  const name = key(each);
  const left = (100 * (each.ts - scale.start)) / scale.span;
  const width = (100 * each.duration * 1000) / scale.span;
  const open = !folded.has(name);
  const turn = (event) => {
    event.preventDefault();
    event.stopPropagation();
    if (open) folded.add(name);
    else folded.delete(name);
    redraw();
  };
  return h("a.row", {
    "data-key": name, href: go({ item: name }), role: "treeitem", "aria-level": depth + 1, "aria-expanded": each.children.length ? String(open) : null,
    "aria-selected": String(selected === name), class: [each.kind, selected === name && "selected", each.outcome === "failure" && "failed"].filter(Boolean).join(" "),
    tabindex: (selected ? selected === name : index === 0) ? "0" : "-1",
  },
  h("div.label", { style: { "padding-left": `${Math.min(depth, 24) * 16 + 4}px` } },
    each.children.length ? h("button.fold", { type: "button", tabindex: "-1", "aria-label": open ? "Fold" : "Unfold", onclick: turn }, open ? "▾" : "▸") : h("i.fold", null),
    h("i.swatch", { class: `${colour(each.service)}${each.kind === "transactions" ? " whole" : ""}`, title: each.service }),
    each.kind === "transactions" && h("span.dim", null, each.service),
    h("span.title", { title: each.name }, each.name),
    each.orphan && h("span.badge", { title: "Its parent has not been received" }, "no parent"),
    each.calls > 1 && h("span.badge", null, `×${each.calls}`),
    each.outcome === "failure" && h("span.badge.bad", null, "failure")),
  h("div.track", null,
    h("i.bar", { class: colour(each.service), style: { left: `${left}%`, width: `max(${width}%, 2px)` } }),
    errors.map((error) => h("i.error", { title: error.message ?? error.type, style: { left: `${Math.min(Math.max((100 * (error.ts - scale.start)) / scale.span, 0), 100)}%` } })),
    h("span.time", { style: { left: `calc(${left + width}% + 8px)` } }, duration(each.duration))));
}

/** Arrow keys as in any tree. */
function move(event, redraw) {
  const current = event.target.closest("a.row");
  if (!current) return;
  const next = { ArrowDown: current.nextElementSibling, ArrowUp: current.previousElementSibling }[event.key];
  if (next?.matches?.("a.row")) {
    event.preventDefault();
    current.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
  const name = current.getAttribute("data-key");
  const expanded = current.getAttribute("aria-expanded");
  if ((event.key === "ArrowLeft" && expanded === "true") || (event.key === "ArrowRight" && expanded === "false")) {
    event.preventDefault();
    if (event.key === "ArrowLeft") folded.add(name);
    else folded.delete(name);
    redraw();
  }
}

function errorLines(errors, go) {
  if (!errors.length) return h("p.none", null, "No errors in this trace.");
  return h("div.cards", null, errors.map((each) => h("a.card.error-line", { "data-key": each.id, href: go({ tab: "errors", item: `errors:${each.id}` }) },
    serviceName(each.service), h("b", null, each.type ?? "log"), h("span", null, each.message ?? ""), h("span.dim.mono.small", null, each.culprit ?? ""))));
}

async function showItem(ask, item, items, errors, scale, back) {
  const [kind, id] = item.split(":");
  const whole = await ask("event", { table: kind, id });
  const own = (kind === "errors" ? errors : items.filter((each) => each.kind === kind)).find((each) => String(each.id) === id);
  if (!whole || !own) return;
  if (kind === "errors") openDrawer(own.type ?? "Error", back, errorBody(whole));
  else {
    const mine = errors.filter((each) => each.parent_id === own.event_id);
    openDrawer(own.name, back,
      mine.map((each) => h("a.card.error-line", { href: `${back}&item=errors:${each.id}` }, h("b", null, each.type ?? "log"), h("span", null, each.message ?? ""))),
      eventBody(kind, own, whole, scale.span / 1000));
  }
}
