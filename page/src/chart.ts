/** Lines over the rows of an image, as SVG. */

export interface Line {
  name: string;
  values: ArrayLike<number>;
  style: number; // number of its colour and dashes in the style sheet
}

const WIDE = 280;
const HIGH = 120;
const SPACE = { left: 28, right: 6, top: 8, bottom: 20 };
const NAMESPACE = "http://www.w3.org/2000/svg";

/** Draws lines between two values, and the row at which the reader is. */
export function drawChart(svg: SVGSVGElement, lines: Line[], low: number, high: number, row: number): void {
  const rows = lines[0].values.length;
  const x = (place: number): number =>
    SPACE.left + (place / Math.max(1, rows - 1)) * (WIDE - SPACE.left - SPACE.right);
  const y = (value: number): number =>
    SPACE.top + ((high - value) / (high - low)) * (HIGH - SPACE.top - SPACE.bottom);
  svg.setAttribute("viewBox", `0 0 ${WIDE} ${HIGH}`);
  const parts: SVGElement[] = [];
  for (const value of [low, (low + high) / 2, high]) {
    parts.push(element("line", { class: "grid", x1: SPACE.left, x2: WIDE - SPACE.right, y1: y(value), y2: y(value) }));
    parts.push(element("text", { x: SPACE.left - 4, y: y(value) + 3, "text-anchor": "end" }, String(value)));
  }
  parts.push(element("text", { x: SPACE.left, y: HIGH - 4 }, "row 1"));
  parts.push(element("text", { x: WIDE - SPACE.right, y: HIGH - 4, "text-anchor": "end" }, `row ${rows}`));
  for (const line of lines) {
    const points = Array.from(line.values, (value, place) => `${x(place).toFixed(1)},${y(value).toFixed(1)}`);
    parts.push(element("polyline", { class: `line style-${line.style}`, points: points.join(" ") }));
  }
  parts.push(element("line", { class: "cursor", x1: x(row), x2: x(row), y1: SPACE.top, y2: HIGH - SPACE.bottom }));
  svg.replaceChildren(...parts);
}

function element(name: string, attributes: Record<string, string | number>, text = ""): SVGElement {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.textContent = text;
  return made;
}
