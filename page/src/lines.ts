/** The page of a reader of lines: what is written or dropped is read, and shown along its columns. */

import { largest } from "./classifier";
import { INK, scale } from "./colours";
import { Drawing } from "./drawing";
import { bestPath, readLine, STRIP, textOf, type Letter } from "./line_reader";
import { drawMap } from "./maps";
import { laid, pictureOf, Refused } from "./pictures";
import { sizeOf, toBytes, toFloats, type Picture } from "./preprocessing";
import { lineReader } from "./stored_line_reader";

const PAPER = { width: 1000, height: 160, thick: 6, step: 6 };
const WAIT = 350; // milliseconds without a stroke, after which what is written is read
const MARGIN = 8; // pixels around what is written
const MOST_COLUMNS = 4000;
const SHOWN = 5; // characters of a column
const BARS = 24; // rows of the bars of probability
/** Of what is above a bar, of a character's bar, and of one for none. */
const OF_BARS = scale(0, 2, [[255, 255, 255], [5, 80, 174], [200, 208, 216]]);
const found = <Kind extends HTMLElement>(id: string): Kind => document.getElementById(id) as Kind;

const model = lineReader(JSON.parse(document.getElementById("embedded")!.textContent!));
const say = (words: string): void => {
  found("said").textContent = words;
};
let picture: Picture | null = null;
let waiting = 0;
let columns: Float64Array[] = [];
let letters: Letter[] = [];
let seen: Uint8Array[] = [];
const drawing = new Drawing(found<HTMLCanvasElement>("drawing"), PAPER, drawn, say);
const slider = found<HTMLInputElement>("column");

function drawn(): void {
  picture = null;
  clearTimeout(waiting);
  if (drawing.empty) return forget();
  waiting = window.setTimeout(look, WAIT);
}

function forget(): void {
  document.body.classList.add("empty");
  found("text").textContent = "";
  say("Nothing to read: write a line, or drop a picture of one.");
}

function look(): void {
  const shown = picture ?? written();
  if (shown === null) return forget();
  const [height, width] = sizeOf(model.preprocessing, shown);
  if (width > MOST_COLUMNS) {
    return say(`This picture would be ${width} columns wide at ${height} rows; a line has at most ${MOST_COLUMNS}. Cut out one line.`);
  }
  say("Reading …");
  // After the words are on the screen.
  requestAnimationFrame(() =>
    setTimeout(() => {
      const bytes = toBytes(model.preprocessing, shown);
      const started = performance.now();
      columns = readLine(model, toFloats(model.preprocessing, bytes), width);
      const milliseconds = performance.now() - started;
      letters = bestPath(model, columns);
      seen = Array.from({ length: height }, (_, y) => bytes.subarray(y * width, (y + 1) * width));
      show(milliseconds);
    }, 0),
  );
}

/** Returns what is written, with a margin: as a line that was cut out of a page. */
function written(): Picture | null {
  if (drawing.empty) return null;
  const { data, width, height } = drawing.pixels;
  let [left, right, top, bottom] = [width, 0, height, 0];
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      if (data[4 * (y * width + x)] < 160) {
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

function show(milliseconds: number): void {
  document.body.classList.remove("empty");
  const text = textOf(model, letters);
  found("text").textContent = text || "(no character)";
  say(`Read in ${(milliseconds / 1000).toFixed(1)} s: ${letters.length} characters.`);
  slider.max = String(columns.length);
  const strip = found("strip");
  strip.style.setProperty("--columns", String(seen[0].length));
  found("letters").replaceChildren(...letters.map(letterMark));
  found("list").replaceChildren(...letters.map(letterItem));
  drawMap(found<HTMLCanvasElement>("sure"), bars(), OF_BARS);
  goTo(letters.length > 0 ? letters[0].first : 0);
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
  mark.textContent = letter.character;
  mark.style.setProperty("--from", String(letter.first * STRIP));
  mark.style.setProperty("--size", String((letter.last - letter.first + 1) * STRIP));
  mark.classList.toggle("unsure", letter.probability < 0.7);
  return mark;
}

function letterItem(letter: Letter): HTMLElement {
  const item = document.createElement("li");
  const name = letter.character === " " ? "space" : letter.character;
  const first = letter.first * STRIP + 1;
  item.textContent = `${name}: ${(100 * letter.probability).toFixed(0)} %, columns ${first} to ${(letter.last + 1) * STRIP}`;
  return item;
}

/** Shows what is believed at a step. */
function goTo(place: number): void {
  slider.value = String(place + 1);
  const words = `columns ${place * STRIP + 1} to ${(place + 1) * STRIP}`;
  slider.setAttribute("aria-valuetext", words);
  found("place").textContent = words;
  const canvas = found<HTMLCanvasElement>("seen");
  drawMap(canvas, seen, INK);
  found("strip").style.setProperty("--at", String(place * STRIP));
  const of = columns[place];
  const order = [...of.keys()].sort((a, b) => of[b] - of[a]).slice(0, SHOWN);
  found("beliefs").replaceChildren(
    ...order.map((label) => {
      const item = document.createElement("li");
      item.style.setProperty("--share", String(of[label]));
      const name = label === model.alphabet.length ? "none" : model.alphabet[label] === " " ? "space" : model.alphabet[label];
      item.innerHTML = `<span class="class"></span><span class="share">${(100 * of[label]).toFixed(0)} %</span>`;
      item.querySelector(".class")!.textContent = name;
      return item;
    }),
  );
}

async function open(file: File | undefined): Promise<void> {
  if (file === undefined) return;
  try {
    const opened = await pictureOf(file);
    drawing.show(laid(opened.bitmap, PAPER.width / PAPER.height));
    picture = opened.picture;
    look();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    say(error.message);
  }
}

found("clear").addEventListener("click", () => drawing.clear());
found("undo").addEventListener("click", () => drawing.undo());
slider.addEventListener("input", () => goTo(Number(slider.value) - 1));
found("file").addEventListener("change", (event) => void open((event.target as HTMLInputElement).files?.[0]));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  void open(event.dataTransfer?.files[0]);
});
for (const name of ["pointerdown", "pointermove"] as const)
  found("seen").addEventListener(name, (event) => {
    const box = found("seen").getBoundingClientRect();
    const place = Math.floor((((event as PointerEvent).clientX - box.left) / box.width) * columns.length);
    if (columns.length > 0) goTo(Math.min(columns.length - 1, Math.max(0, place)));
  });
drawing.clear();
document.body.classList.remove("building");
