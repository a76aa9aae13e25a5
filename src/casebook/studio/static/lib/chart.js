// Line charts drawn from numbers, at the width that there is.
import { html, useEffect, useRef, useState } from "./ui.js";

const HEIGHT = 220;
const [LEFT, RIGHT, TOP, BOTTOM] = [52, 12, 10, 26];
const MOST_DOTS = 60;

// About `count` round numbers from `low` to `high`.
export function ticks(low, high, count = 4) {
  const span = high - low || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(span / count));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => span / size <= count) ?? power * 10;
  const found = [];
  for (let tick = Math.ceil(low / step); tick * step <= high + step * 1e-9; tick += 1) found.push(tick * step);
  return found;
}

// series: [{name, kind: "training"|"validation"|"steps", points: [[x, y], ...], best: [x, y]}]
// `format` takes a number and the distance of two ticks; `floor`, `ceiling` and `extent` are the least that the axes show.
export function LineChart({ title, series, format, xName = "epoch", floor, ceiling, extent = 1, empty }) {
  const figure = useRef();
  const [width, setWidth] = useState(480);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.max(220, Math.round(entry.contentRect.width))));
    observer.observe(figure.current);
    return () => observer.disconnect();
  }, []);
  const points = series.flatMap((one) => one.points).filter(([, y]) => y !== null && Number.isFinite(y));
  const name = `${title}. ${series.filter((one) => one.points.length && one.kind !== "steps").map((one) => {
    const [x, y] = one.points.at(-1);
    return `${one.name} ${format(y)} after ${xName} ${x}`;
  }).join(", ") || "Nothing yet."}`;
  if (!points.length) {
    return html`<figure ref=${figure}><figcaption>${title}</figcaption><p class="said">${empty}</p></figure>`;
  }
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  const [left, right] = [Math.min(0, ...xs), Math.max(extent, ...xs)];
  let [low, high] = [Math.min(...ys, floor ?? Infinity), Math.max(...ys, ceiling ?? -Infinity)];
  if (low === high) { low -= Math.abs(low) * 0.1 || 0.1; high += Math.abs(high) * 0.1 || 0.1; }
  const atX = (x) => LEFT + ((x - left) / (right - left)) * (width - LEFT - RIGHT);
  const atY = (y) => TOP + (1 - (y - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const path = (line) => line.filter(([, y]) => Number.isFinite(y) && y !== null)
    .map(([x, y], place) => `${place ? "L" : "M"}${atX(x).toFixed(1)} ${atY(y).toFixed(1)}`).join("");
  const marks = ticks(low, high);
  const apart = marks.length > 1 ? marks[1] - marks[0] : 1;
  const epochs = ticks(left, right, Math.max(2, Math.floor(width / 70))).filter(Number.isInteger);
  return html`<figure ref=${figure}><figcaption>${title}</figcaption>
    <svg viewBox=${`0 0 ${width} ${HEIGHT}`} width=${width} height=${HEIGHT} role="img" aria-label=${name}>
      ${marks.map((y) => html`<g key=${`y${y}`}><line class="axis" x1=${LEFT} x2=${width - RIGHT} y1=${atY(y)} y2=${atY(y)} /><text x=${LEFT - 8} y=${atY(y) + 4} text-anchor="end">${format(y, apart)}</text></g>`)}
      ${epochs.map((x) => html`<text key=${`x${x}`} x=${atX(x)} y=${HEIGHT - 8} text-anchor="middle">${x}</text>`)}
      ${series.map((one) => html`<g key=${one.name}>
        <path class=${`line ${one.kind}`} d=${path(one.points)} />
        ${one.kind !== "steps" && one.points.length <= MOST_DOTS && one.points.map(([x, y]) => html`<circle key=${x} class=${one.kind} cx=${atX(x)} cy=${atY(y)} r="3"><title>${`${one.name}, ${xName} ${x}: ${format(y)}`}</title></circle>`)}
        ${one.best && html`<circle class="best" cx=${atX(one.best[0])} cy=${atY(one.best[1])} r="7"><title>${`kept: ${xName} ${one.best[0]}`}</title></circle>`}
      </g>`)}
    </svg></figure>`;
}
