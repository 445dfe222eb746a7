// Building and updating the page. Everything that came from an event goes in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "path", "rect", "line", "text", "g", "circle", "polyline", "title"]);

/** Make an element: h("a.link", {href, onclick}, child, [children], "text"). Falsy children are left out. */
export function h(spec, attributes, ...children) {
  const [tag, ...classes] = spec.split(".");
  const inSvg = SVG_TAGS.has(tag) && !(tag === "title" && !attributes?.svg);
  const element = inSvg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  if (classes.length) element.setAttribute("class", classes.join(" "));
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false || name === "svg") continue;
    if (name.startsWith("on")) {
      element[name] = value;
      (element.handlers ??= new Set()).add(name);
    } else if (name === "style") {
      for (const [property, text] of Object.entries(value)) element.style.setProperty(property, text);
    } else if (name === "class") {
      element.setAttribute("class", [...classes, value].filter(Boolean).join(" "));
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false || child === "") continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child instanceof Node ? child : String(child));
  }
}

/** Make `target`'s children look like `wanted`, touching only what differs: focus, scroll and open parts stay. */
export function morph(target, ...wanted) {
  const next = document.createDocumentFragment();
  append(next, wanted);
  morphChildren(target, next);
}

function morphChildren(target, source) {
  const keyed = new Map();
  for (const child of target.children) {
    const key = child.getAttribute("data-key");
    if (key !== null) keyed.set(key, child);
  }
  let place = target.firstChild;
  for (const wanted of [...source.childNodes]) {
    const key = wanted.nodeType === 1 ? wanted.getAttribute("data-key") : null;
    const match = key === null ? place : keyed.get(key);
    if (match && similar(match, wanted)) {
      if (match === place) place = place.nextSibling;
      else target.insertBefore(match, place);
      morphNode(match, wanted);
    } else {
      target.insertBefore(wanted, place);
    }
  }
  while (place) {
    const gone = place;
    place = place.nextSibling;
    gone.remove();
  }
}

function similar(one, other) {
  if (one.nodeType !== other.nodeType || one.nodeName !== other.nodeName) return false;
  return one.nodeType !== 1 || one.getAttribute("data-key") === other.getAttribute("data-key");
}

function morphNode(one, other) {
  if (one.nodeType !== 1) {
    if (one.data !== other.data) one.data = other.data;
    return;
  }
  for (const { name } of [...one.attributes]) {
    // What the user opened stays open.
    if (!other.hasAttribute(name) && !(name === "open" && one.nodeName === "DETAILS")) one.removeAttribute(name);
  }
  for (const { name, value } of [...other.attributes]) {
    if (one.getAttribute(name) !== value) one.setAttribute(name, value);
  }
  for (const name of one.handlers ?? []) if (!other.handlers?.has(name)) one[name] = null;
  for (const name of other.handlers ?? []) one[name] = other[name];
  one.handlers = other.handlers;
  // A field that the user edits keeps its text.
  if (one.nodeName !== "INPUT") morphChildren(one, other);
}

/** Milliseconds for people. */
export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1) return `${round(ms * 1000)} µs`;
  if (ms < 1000) return `${round(ms)} ms`;
  if (ms < 60_000) return `${round(ms / 1000, 2)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min ${Math.round((ms % 60_000) / 1000)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function round(value, digits) {
  if (value === 0) return "0";
  if (digits === undefined) digits = value < 10 ? 2 : value < 100 ? 1 : 0;
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}

export function percent(share) {
  return share === null || share === undefined ? "–" : `${round(share * 100, share && share < 0.1 ? 1 : 0)} %`;
}

export function rate(perMinute) {
  return perMinute ? `${round(perMinute)} /min` : "–";
}

export function number(value) {
  return value === null || value === undefined ? "–" : value.toLocaleString("en");
}

export function bytes(value) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${round(value, unit ? 1 : 0)} ${units[unit]}`;
}

/** A moment (microseconds): the time of day today, with the date otherwise. */
export function moment(us, precise = false) {
  if (us === null || us === undefined) return "–";
  const date = new Date(us / 1000);
  if (Number.isNaN(date.getTime())) return "–";
  const time = date.toLocaleTimeString("en-GB") + (precise ? `.${String(date.getMilliseconds()).padStart(3, "0")}` : "");
  return date.toDateString() === new Date().toDateString() ? time : `${date.toISOString().slice(0, 10)} ${time}`;
}

export function ago(us) {
  if (!us) return "–";
  const seconds = Math.max(Math.round((Date.now() - us / 1000) / 1000), 0);
  if (seconds < 5) return "now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

/** The hash for a view: link("transaction", {service: "shop"}). */
export function link(view, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  const text = query.toString();
  return `#/${view}${text ? `?${text}` : ""}`;
}

const colours = new Map();

/** The class that gives a service its colour: the same all over the page, by the order in which services came. */
export function colour(service) {
  if (!colours.has(service)) colours.set(service, colours.size % 10);
  return `c${colours.get(service)}`;
}

export function serviceName(service) {
  return h("span.service", null, h("i.swatch", { class: colour(service) }), service);
}

export function outcome(value) {
  if (value === "failure") return h("span.badge.bad", null, "failure");
  if (value === "success") return h("span.badge.good", null, "success");
  return h("span.badge", null, value ?? "unknown");
}
