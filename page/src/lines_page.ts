/** The page of a reader of lines: what is written or dropped is read, and shown along its columns. */

import { largest } from "./classifier";
import { INK, scale } from "./colours";
import { embeddedText, found, Input, say } from "./input";
import { bestPath, readLine, STRIP, type Letter } from "./line_reader";
import { drawMap } from "./maps";
import { sizeOf, toBytes, toFloats, type Picture } from "./preprocessing";
import { lineReader } from "./stored_line_reader";
import { percent } from "./words";

const WAIT = 350; // milliseconds without a stroke, after which what is written is read
const MARGIN = 8; // pixels around what is written
const DARK = 160; // grey value below which a pixel is ink
const MOST_COLUMNS = 4000;
const SHOWN = 5; // characters of a column
const UNSURE = 0.7;
const BARS = 24; // rows of the bars of probability
/** Of what is above a bar, of a character's bar, and of one for none. */
const OF_BARS = scale(0, 2, [[255, 255, 255], [5, 80, 174], [200, 208, 216]]);
const EMPTY = "Nothing to read: write a line, or drop a picture of one.";

const model = lineReader(JSON.parse(embeddedText()));
// On a narrow screen the same paper would be too low to write on.
const paper = { width: window.innerWidth < 600 ? 500 : 1000, height: 160, thick: 6, step: 6, dark: false };
const slider = found<HTMLInputElement>("column");
let waiting = 0;
let number = 0; // of the reading: only the newest is shown
let columns: Float64Array[] = [];
const input = new Input(paper, drawn, look);

function drawn(): void {
  clearTimeout(waiting);
  number++;
  if (input.shown === null) return forget(EMPTY);
  waiting = window.setTimeout(look, WAIT);
}

/** Shows nothing, and says why. */
function forget(words: string): void {
  document.body.classList.add("empty");
  for (const id of ["text", "letters", "list", "beliefs"]) found(id).replaceChildren();
  columns = [];
  say(words);
}

function look(): void {
  clearTimeout(waiting);
  const shown = input.isPicture ? input.shown : written();
  if (shown === null) return forget(EMPTY);
  const [height, width] = sizeOf(model.preprocessing, shown);
  if (width > MOST_COLUMNS) {
    const size = `This picture would be ${width} columns wide at ${height} rows`;
    return forget(`${size}; a line has at most ${MOST_COLUMNS}. Cut out one line.`);
  }
  say("Reading …");
  const own = ++number;
  // After the words are on the screen.
  requestAnimationFrame(() => setTimeout(() => own === number && read(shown, height, width), 0));
}

function read(shown: Picture, height: number, width: number): void {
  const bytes = toBytes(model.preprocessing, shown);
  const started = performance.now();
  columns = readLine(model, toFloats(model.preprocessing, bytes), width);
  const seconds = (performance.now() - started) / 1000;
  const letters = bestPath(model, columns);
  const text = letters.map(({ character }) => character).join("");
  document.body.classList.remove("empty");
  found("text").textContent = text || "(no character)";
  say(`Read in ${seconds.toFixed(1)} s: ${text || "no character"}`);
  slider.max = String(columns.length);
  found("strip").style.setProperty("--columns", String(width));
  const rows = Array.from({ length: height }, (_, y) => bytes.subarray(y * width, (y + 1) * width));
  drawMap(found<HTMLCanvasElement>("seen"), rows, INK);
  drawMap(found<HTMLCanvasElement>("sure"), bars(), OF_BARS);
  found("letters").replaceChildren(...letters.map(letterMark));
  found("list").replaceChildren(...letters.map(letterItem));
  goTo(letters.length > 0 ? letters[0].first : 0);
}

/** Returns what is written, with a margin: as a line that was cut out of a page. */
function written(): Picture | null {
  if (input.shown === null) return null;
  const { data, width, height } = input.shown;
  let [left, right, top, bottom] = [width, 0, height, 0];
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      if (data[4 * (y * width + x)] < DARK) {
        left = Math.min(left, x);
        right = Math.max(right, x + 1);
        top = Math.min(top, y);
        bottom = Math.max(bottom, y + 1);
      }
  if (right <= left) return null;
  const [from, above] = [Math.max(0, left - MARGIN), Math.max(0, top - MARGIN)];
  const size = { width: Math.min(width, right + MARGIN) - from, height: Math.min(height, bottom + MARGIN) - above };
  const cut = new Uint8ClampedArray(4 * size.width * size.height);
  for (let y = 0; y < size.height; y++) {
    const row = 4 * ((above + y) * width + from);
    cut.set(data.subarray(row, row + 4 * size.width), 4 * y * size.width);
  }
  return { ...size, data: cut };
}

/** How probable the likeliest is at each strip, as bars: 1 for a character, 2 for none, 0 above. */
function bars(): number[][] {
  const best = columns.map(largest);
  return Array.from({ length: BARS }, (_, y) =>
    columns.map((of, place) => {
      const filled = of[best[place]] >= 1 - (y + 1) / BARS;
      return !filled ? 0 : best[place] < model.alphabet.length ? 1 : 2;
    }),
  );
}

/** A character below the columns that it was read at. */
function letterMark(letter: Letter): HTMLElement {
  const mark = document.createElement("span");
  mark.textContent = named(letter.character);
  mark.style.setProperty("--from", String(letter.first * STRIP));
  mark.style.setProperty("--size", String((letter.last - letter.first + 1) * STRIP));
  mark.classList.toggle("unsure", letter.probability < UNSURE);
  return mark;
}

function letterItem({ character, probability, first, last }: Letter): HTMLElement {
  const item = document.createElement("li");
  item.textContent = `${named(character)}: ${percent(probability)}, columns ${first * STRIP + 1} to ${(last + 1) * STRIP}`;
  return item;
}

/** A space is to be seen. */
function named(character: string): string {
  return character === " " ? "␣" : character;
}

/** Shows what is believed at a step. */
function goTo(place: number): void {
  slider.value = String(place + 1);
  const words = `columns ${place * STRIP + 1} to ${(place + 1) * STRIP}`;
  slider.setAttribute("aria-valuetext", words);
  found("place").textContent = words;
  found("strip").style.setProperty("--at", String(place * STRIP));
  const frame = found("scroll");
  const at = (place / columns.length) * found("strip").offsetWidth;
  if (at < frame.scrollLeft || at > frame.scrollLeft + frame.clientWidth) frame.scrollLeft = at - frame.clientWidth / 2;
  const of = columns[place];
  const order = [...of.keys()].sort((a, b) => of[b] - of[a]).slice(0, SHOWN);
  found("beliefs").replaceChildren(
    ...order.map((label) => {
      const item = document.createElement("li");
      item.style.setProperty("--share", String(of[label]));
      item.innerHTML = `<span class="class"></span><span class="share">${percent(of[label])}</span>`;
      item.querySelector(".class")!.textContent = label < model.alphabet.length ? named(model.alphabet[label]) : "none";
      return item;
    }),
  );
}

slider.addEventListener("input", () => columns.length > 0 && goTo(Number(slider.value) - 1));
const seen = found("seen");
for (const name of ["pointerdown", "pointermove"] as const)
  seen.addEventListener(name, (event) => {
    if (event.buttons === 0 || columns.length === 0) return;
    const box = seen.getBoundingClientRect();
    const place = Math.floor(((event.clientX - box.left) / box.width) * columns.length);
    goTo(Math.min(columns.length - 1, Math.max(0, place)));
  });
input.drawing.clear();
document.body.classList.remove("building");
