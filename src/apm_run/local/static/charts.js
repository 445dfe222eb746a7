// Small charts in SVG, drawn by hand.

import { duration, h, number } from "./dom.js";

/** A row of small bars: how much was going on over time. */
export function spark(series, label) {
  const most = Math.max(...series, 1);
  const width = 3;
  return h(
    "svg.spark",
    { viewBox: `0 0 ${series.length * width} 24`, width: series.length * width, height: 24, role: "img", "aria-label": label },
    series.map((count, index) => {
      const height = count ? Math.max((count / most) * 22, 2) : 1;
      return h("rect", {
        x: index * width, y: 24 - height, width: width - 1, height, class: count ? "on" : "off",
      });
    }),
  );
}

/** Latency distribution: one bar per bucket on a logarithmic axis, the 95th percentile marked. */
export function histogram(buckets, p95) {
  if (!buckets.length) return h("p.dim", null, "No durations yet.");
  const width = 900, height = 170, base = 140, gap = buckets.length > 60 ? 1 : 3;
  const step = Math.min(width / buckets.length, 60);
  const most = Math.max(...buckets.map((bucket) => bucket.count));
  const left = 0;
  const bars = buckets.map((bucket, index) => {
    const tall = bucket.count ? Math.max((bucket.count / most) * (base - 20), 3) : 0;
    return h(
      "g", { class: bucket.from >= p95 ? "tail" : null },
      h("rect.hit", { x: left + index * step, y: 0, width: step, height: base },
        h("title", { svg: true }, `${duration(bucket.from)} – ${duration(bucket.to)}: ${number(bucket.count)}`)),
      h("rect", { x: left + index * step + gap / 2, y: base - tall, width: Math.max(step - gap, 1), height: tall, rx: 2 }),
    );
  });
  const every = Math.max(Math.ceil(70 / step), 1);
  const labels = buckets
    .map((bucket, index) => index % every ? null
      : h("text", { x: left + index * step, y: base + 18, class: "axis" }, duration(bucket.from)))
    .filter(Boolean);
  const place = buckets.findIndex((bucket) => p95 <= bucket.to);
  const x = left + (place < 0 ? buckets.length : place + 1) * step;
  return h(
    "svg.histogram", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Latency distribution" },
    h("line.rule", { x1: 0, x2: width, y1: base, y2: base }), bars, labels,
    h("line.mark", { x1: x, x2: x, y1: 6, y2: base }),
    h("text.marked", { x: x > width - 120 ? x - 6 : x + 6, y: 16, "text-anchor": x > width - 120 ? "end" : "start" },
      `p95 ${duration(p95)}`),
  );
}

/** One metric over time: points are [microseconds, value]. */
export function line(points, format) {
  const width = 320, height = 90, pad = 6;
  const values = points.map(([, value]) => value);
  const low = Math.min(...values, 0), high = Math.max(...values);
  const first = points[0][0], last = points[points.length - 1][0];
  const x = (at) => (last === first ? width / 2 : pad + ((at - first) / (last - first)) * (width - 2 * pad));
  const y = (value) => (high === low ? height / 2 : height - pad - ((value - low) / (high - low)) * (height - 2 * pad));
  const path = points.map(([at, value], index) => `${index ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  return h(
    "svg.line", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `from ${format(values[0])} to ${format(values[values.length - 1])}` },
    points.length > 1 && h("path.area", { d: `${path}L${x(last).toFixed(1)} ${height}L${x(first).toFixed(1)} ${height}Z` }),
    points.length > 1 && h("path.curve", { d: path }),
    h("circle", { cx: x(last), cy: y(values[values.length - 1]), r: 3 }),
  );
}
