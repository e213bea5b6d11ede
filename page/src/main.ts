/** The page: a drawing is read row by row by each model. */

import { GREY } from "./colours";
import { Drawing } from "./drawing";
import { embedded, type Example } from "./embedded";
import { drawMap } from "./maps";
import { laid, pictureOf, Refused } from "./pictures";
import { toBytes, type Picture } from "./preprocessing";
import { Reader } from "./reader";

const PACE = 140; // milliseconds a row, when played
const found = <Kind extends HTMLElement>(id: string): Kind => document.getElementById(id) as Kind;

const { models, examples } = embedded(document.getElementById("embedded")!.textContent!);
const readers = models.map((model) => new Reader(model, found("readers")));
const { preprocessing, height } = models[0];
const slider = found<HTMLInputElement>("row");
slider.max = String(height);
let picture: Picture | null = null; // what is shown in place of a drawing
let seen: Uint8Array | null = null; // as the models see it
let playing = 0;
let waiting = 0;

let outdated = false; // whether what is said is so no longer, once something is read
const say = (words: string, untilRead = true): void => {
  found("said").textContent = words;
  outdated = untilRead;
};
const PAPER = { width: 280, height: 280, thick: 22, step: 10 };
const drawing = new Drawing(found<HTMLCanvasElement>("drawing"), PAPER, drawn, (words) => say(words, false));

/** Has what is drawn read with the next frame: the pen moves more often than the screen is drawn. */
function drawn(): void {
  picture = null;
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(look);
}

/** Has all models read what is drawn or shown. */
function look(): void {
  stop();
  const shown = picture ?? (drawing.empty ? null : drawing.pixels);
  document.body.classList.toggle("empty", shown === null);
  if (shown === null) {
    seen = null;
    say("Nothing to read: draw a digit, choose an example, or drop a picture.");
    return;
  }
  seen = toBytes(preprocessing, shown);
  for (const reader of readers) reader.see(seen);
  if (outdated) say("");
  goTo(height);
}

/** Shows so many rows as read. */
function goTo(rows: number): void {
  slider.value = String(rows);
  slider.setAttribute("aria-valuetext", `row ${rows} of ${height}`);
  found("rows").textContent = `row ${rows} of ${height}`;
  if (seen === null) return;
  const { channels, width } = models[0];
  const luma = (row: number): number[] =>
    Array.from({ length: width }, (_, x) => seen![(row * width + x) * channels]);
  drawMap(found<HTMLCanvasElement>("seen"), Array.from({ length: height }, (_, row) => luma(row)), GREY, { row: rows - 1 });
  for (const reader of readers) reader.show(rows - 1);
}

function play(): void {
  if (playing) return stop();
  if (seen === null) return look();
  found("play").textContent = "Pause";
  let rows = Number(slider.value) >= height ? 0 : Number(slider.value);
  let last = performance.now();
  const next = (now: number): void => {
    if (now - last >= PACE) {
      last = now;
      goTo(++rows);
      if (rows >= height) return finish();
    }
    playing = requestAnimationFrame(next);
  };
  playing = requestAnimationFrame(next);
}

function stop(): void {
  cancelAnimationFrame(playing);
  playing = 0;
  found("play").textContent = "Play";
}

function finish(): void {
  stop();
  const beliefs = models.map(({ title }, place) => {
    const { name, probability } = readers[place].belief;
    return `${title} reads ${name}, ${(100 * probability).toFixed(0)} % sure`;
  });
  say(`${beliefs.join("; ")}.`);
}

async function open(file: File | undefined): Promise<void> {
  if (file === undefined) return;
  try {
    const opened = await pictureOf(file);
    drawing.show(laid(opened.bitmap, 1));
    picture = opened.picture;
    look();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    say(error.message);
  }
}

function addExample(example: Example, place: number): void {
  const canvas = document.createElement("canvas");
  canvas.width = example.width;
  canvas.height = example.height;
  const image = new ImageData(example.width, example.height);
  for (let pixel = 0; pixel < example.width * example.height; pixel++)
    for (let part = 0; part < 4; part++) {
      const channel = example.channels === 3 ? part : 0;
      image.data[4 * pixel + part] = part === 3 ? 255 : example.bytes[pixel * example.channels + channel];
    }
  canvas.getContext("2d")!.putImageData(image, 0, 0);
  const button = found("examples").appendChild(document.createElement("button"));
  button.type = "button";
  button.setAttribute("aria-label", `Example ${place + 1}: ${example.label}`);
  button.append(canvas);
  button.addEventListener("click", () => {
    drawing.show(canvas);
    picture = { width: example.width, height: example.height, data: image.data };
    look();
  });
}

examples.forEach(addExample);
found("clear").addEventListener("click", () => drawing.clear());
found("undo").addEventListener("click", () => drawing.undo());
found("play").addEventListener("click", play);
slider.addEventListener("input", () => {
  stop();
  goTo(Number(slider.value));
});
found("file").addEventListener("change", (event) => void open((event.target as HTMLInputElement).files?.[0]));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  void open(event.dataTransfer?.files[0]);
});
const seenMap = found<HTMLCanvasElement>("seen");
for (const name of ["pointerdown", "pointermove"] as const)
  seenMap.addEventListener(name, (event) => {
    if (name === "pointermove" && event.buttons === 0) return;
    const box = seenMap.getBoundingClientRect();
    const row = Math.ceil(((event.clientY - box.top) / box.height) * height);
    stop();
    goTo(Math.min(height, Math.max(1, row)));
  });
drawing.clear();
document.body.classList.remove("building");
