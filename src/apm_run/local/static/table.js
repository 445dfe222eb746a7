// Tables that can be sorted, and filtered by a text.

import { h } from "./dom.js";

const sorting = new Map();
const filters = new Map();
const MOST = 200;

/**
 * columns: [{title, cell(row), value(row) to sort by, class}]; options: {id, key(row), href(row), filter(row) -> text,
 * empty, redraw}. A row with an href is a link in its first cell and is clickable as a whole.
 */
export function table(columns, rows, { id, key, href, filter, empty, redraw, sort }) {
  const order = sorting.get(id) ?? sort;
  const wanted = (filters.get(id) ?? "").toLowerCase();
  let shown = wanted && filter ? rows.filter((row) => filter(row).toLowerCase().includes(wanted)) : rows;
  if (order && columns[order.column].value) {
    const value = columns[order.column].value;
    shown = [...shown].sort((one, other) => compare(value(one), value(other)) * (order.down ? -1 : 1));
  }
  const heads = columns.map((column, index) => {
    const active = order?.column === index;
    const direction = active ? (order.down ? "descending" : "ascending") : null;
    const turn = () => {
      sorting.set(id, { column: index, down: active ? !order.down : column.down !== false });
      redraw();
    };
    return h("th", { class: column.class, "aria-sort": direction, scope: "col" },
      column.value ? h("button.sort", { type: "button", onclick: turn }, column.title, active && h("i", { class: order.down ? "down" : "up" })) : column.title);
  });
  const cut = shown.slice(0, MOST);
  return h(
    "div.table", { "data-key": id },
    filter && rows.length > 3 && h("input.filter", {
      type: "search", placeholder: "Filter", "aria-label": "Filter the table",
      oninput: (event) => { filters.set(id, event.target.value); redraw(); },
    }),
    h("div.scroll", null, h("table", null,
      h("thead", null, h("tr", null, heads)),
      h("tbody", null, cut.map((row) => line(columns, row, key, href))))),
    !shown.length && h("p.none", null, rows.length ? "Nothing matches the filter." : empty),
    shown.length > cut.length && h("p.dim", null, `The first ${MOST} of ${shown.length} rows are shown.`),
  );
}

function line(columns, row, key, href) {
  const target = href?.(row);
  const open = target && ((event) => {
    if (!event.target.closest("a, button") && !String(getSelection())) location.hash = target;
  });
  return h("tr", { "data-key": key(row), class: target ? "open" : null, onclick: open || null },
    columns.map((column, index) => {
      const content = column.cell(row);
      return h("td", { class: column.class }, index === 0 && target ? h("a", { href: target }, content) : content);
    }));
}

function compare(one, other) {
  if (one === other) return 0;
  if (one === null || one === undefined) return -1;
  if (other === null || other === undefined) return 1;
  return one < other ? -1 : 1;
}
