// One event in full: what was called, how it ended, where in the code, and the text as it was sent.

import { colour, duration, h, link, moment, morph, number, outcome, percent } from "./dom.js";

const drawer = document.getElementById("drawer");
let opener = null;
let leave = null;

/** Show `content` at the side; Escape or its button leads back to `back`. */
export function openDrawer(title, back, ...content) {
  if (drawer.hidden) opener = document.activeElement;
  drawer.hidden = false;
  document.body.classList.add("with-drawer");
  morph(drawer,
    h("header", null, h("h2", null, title), h("button", { type: "button", "aria-label": "Close details", onclick: () => { location.hash = back; } }, "✕")),
    h("div.inside", { "data-key": location.hash }, content));
  leave = back;
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !drawer.hidden && leave) location.hash = leave;
});

export function closeDrawer() {
  if (drawer.hidden) return;
  drawer.hidden = true;
  drawer.replaceChildren();
  document.body.classList.remove("with-drawer");
  if (opener?.isConnected) opener.focus({ preventScroll: true });
}

function section(title, ...content) {
  const inside = content.flat().filter(Boolean);
  return inside.length ? h("section", { "data-key": title }, h("h3", null, title), inside) : null;
}

function pairs(object) {
  const rows = Object.entries(object).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return rows.length ? h("dl.pairs", null, rows.map(([name, value]) => [h("dt", null, name), h("dd", null, value instanceof Node ? value : typeof value === "object" ? JSON.stringify(value) : String(value))])) : null;
}

/** A transaction or a span. `own` is its line in the trace, `whole` its text with metadata. */
export function eventBody(kind, own, whole, total) {
  const event = whole.event[kind === "spans" ? "span" : "transaction"];
  const context = event.context ?? {};
  const http = context.http ?? {};
  const status = http.response?.status_code ?? http.status_code ?? context.response?.status_code;
  const request = context.request ?? {};
  const url = http.url ?? request.url?.full ?? request.url?.raw;
  return [
    h("p.badges", null,
      h("span.badge", null, h("i.swatch", { class: colour(own.service) }), own.service),
      h("span.badge", null, [own.type, own.subtype, own.action].filter(Boolean).join(" / ")),
      outcome(own.outcome), own.sync === 0 && h("span.badge", null, "async"), own.calls > 1 && h("span.badge", null, `${own.calls} calls`)),
    pairs({
      Duration: `${duration(own.duration)}${total ? ` (${percent(own.duration / total)} of the trace)` : ""}`,
      Started: moment(own.ts, true), Result: event.result, Target: own.target,
      Spans: event.span_count && `${number(event.span_count.started)} reported${event.span_count.dropped ? `, ${number(event.span_count.dropped)} dropped` : ""}`,
      "Sample rate": event.sample_rate,
    }),
    event.composite && section("Compressed", pairs({ Calls: event.composite.count, "Time in all": duration(event.composite.sum), Strategy: event.composite.compression_strategy })),
    context.db && section("Database", context.db.statement && h("pre.statement", null, context.db.statement), pairs({ Type: context.db.type, Instance: context.db.instance, User: context.db.user, Rows: context.db.rows_affected })),
    (url || status) && section("HTTP", pairs({ Method: http.method ?? request.method, URL: url, Status: status, Version: request.http_version, Remote: request.socket?.remote_address })),
    context.message && section("Message", pairs({ Queue: context.message.queue?.name, "Routing key": context.message.routing_key, Age: context.message.age && duration(context.message.age.ms), Body: context.message.body })),
    context.destination && section("Destination", pairs({ Address: context.destination.address, Port: context.destination.port, Resource: context.destination.service?.resource })),
    request.headers && section("Request headers", pairs(request.headers)),
    (context.response?.headers ?? http.response?.headers) && section("Response headers", pairs(context.response?.headers ?? http.response.headers)),
    request.body && section("Request body", h("pre", null, typeof request.body === "string" ? request.body : JSON.stringify(request.body, null, 2))),
    context.tags && section("Labels", pairs(context.tags)),
    context.user && section("User", pairs(context.user)),
    context.custom && section("Custom", pairs(context.custom)),
    event.otel && section("OpenTelemetry", pairs({ Kind: event.otel.span_kind, ...event.otel.attributes })),
    event.marks && section("Marks", pairs(Object.fromEntries(Object.entries(event.marks).map(([name, values]) => [name, JSON.stringify(values)])))),
    event.links?.length && section("Links", event.links.map((each) => h("p", null, h("a.mono", { href: link("trace", { id: each.trace_id }) }, each.trace_id), h("span.mono.dim", null, ` ${each.span_id}`)))),
    event.dropped_spans_stats?.length && section("Dropped spans", event.dropped_spans_stats.map((each) => pairs({ [each.destination_service_resource ?? each.service_target_name ?? each.service_target_type ?? "–"]: `${each.duration?.count ?? "?"} × ${each.outcome ?? ""}, ${duration((each.duration?.sum?.us ?? 0) / 1000)}` }))),
    event.stacktrace?.length && section("Stack", frames(event.stacktrace)),
    asSent(event, whole.metadata),
  ];
}

function asSent(event, metadata) {
  return section("As sent",
    h("details", { "data-key": "event" }, h("summary", null, "Event"), h("pre", null, JSON.stringify(event, null, 2))),
    h("details", { "data-key": "metadata" }, h("summary", null, "Metadata"), h("pre", null, JSON.stringify(metadata, null, 2))));
}

/** An error: the exception with its causes, or the log record, each with its frames. */
export function errorBody(whole) {
  const event = whole.event.error;
  const context = event.context ?? {};
  const request = context.request ?? {};
  return [
    event.log && section("Log", h("p.error-message", null, event.log.message), pairs({ Level: event.log.level, Logger: event.log.logger_name, Template: event.log.param_message !== event.log.message ? event.log.param_message : null }),
      event.log.stacktrace?.length && frames(event.log.stacktrace)),
    event.exception && exception(event.exception, "Exception"),
    request.method && section("Request", pairs({ Method: request.method, URL: request.url?.full ?? request.url?.raw, Status: context.response?.status_code })),
    context.tags && section("Labels", pairs(context.tags)),
    context.user && section("User", pairs(context.user)),
    context.custom && section("Custom", pairs(context.custom)),
    asSent(event, whole.metadata),
  ];
}

function exception(one, title, depth = 0) {
  return [
    h("section", { "data-key": `${title}${depth}` }, h("h3", null, title),
      h("p.error-message", null, h("b", null, [one.module, one.type].filter(Boolean).join(".") || "Exception"), one.message && h("span", null, one.message)),
      one.handled === false && h("span.badge.bad", null, "unhandled"),
      pairs({ Code: one.code, ...(one.attributes ?? {}) }),
      one.stacktrace?.length ? frames(one.stacktrace) : null),
    (one.cause ?? []).map((each, index) => h("div.cause", { "data-key": `cause${depth}.${index}` }, exception(each, "Caused by", depth + 1))),
  ];
}

/** Stack frames in the order they were sent; those of libraries are folded and pale. */
export function frames(stack) {
  return h("ol.frames", null, stack.map((frame, index) => {
    const place = h("summary", null,
      h("span.file", null, frame.filename ?? frame.classname ?? frame.abs_path ?? "?"), frame.lineno != null && h("span.dim", null, `:${frame.lineno}`),
      frame.function && [h("span.dim", null, " in "), h("b", null, frame.function)]);
    const variables = frame.vars && Object.keys(frame.vars).length ? pairs(frame.vars) : null;
    const code = source(frame);
    if (!code && !variables) return h("li", { "data-key": index, class: frame.library_frame ? "library" : null }, h("div.frame.plain", null, [...place.childNodes]));
    return h("li", { "data-key": index, class: frame.library_frame ? "library" : null },
      h("details.frame", { open: !frame.library_frame }, place, code, variables && h("details.variables", null, h("summary", null, "Variables"), variables)));
  }));
}

function source(frame) {
  if (frame.context_line == null) return null;
  const before = frame.pre_context ?? [], after = frame.post_context ?? [];
  const first = frame.lineno - before.length;
  return h("div.source", null, [...before, frame.context_line, ...after].map((text, index) =>
    h("div", { class: index === before.length ? "here" : null }, h("i", null, Number.isFinite(first) ? first + index : ""), h("code", null, text || " "))));
}
