/** The page of classifiers: a drawing is read row by row by each of them. */

import { embedded, type Example } from "./embedded";
import { embeddedText, found, Input, say } from "./input";
import { drawPicture, mark } from "./maps";
import { Panel } from "./panel";
import { toBytes } from "./preprocessing";
import { sure } from "./words";

const PACE = 140; // milliseconds a row, when played
const QUIET = 700; // milliseconds without a stroke, after which the answers are said
const EMPTY = "Nothing to read: draw, choose an example, or drop a picture.";

const { models, examples } = embedded(embeddedText());
const panels = models.map((model) => new Panel(model, found("readers")));
const { preprocessing: how, height, width, channels } = models[0];
// Digits are found on any paper; other drawings are on the background of the pictures that were learnt from.
const dark = !how.like_mnist && how.background < 128;
const slider = found<HTMLInputElement>("row");
slider.max = String(height);
let read = false; // whether there is something, and it is read
let playing = 0;
let waiting = 0;
let quiet = 0;
const input = new Input({ width: 280, height: 280, thick: 22, step: 10, dark }, drawn, look);

/** Has what is drawn read with the next frame: the pen moves more often than the screen is drawn. */
function drawn(): void {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(look);
}

/** Has all models read what is drawn or shown. */
function look(): void {
  stop();
  clearTimeout(quiet);
  const { shown } = input;
  read = shown !== null;
  document.body.classList.toggle("empty", !read);
  if (shown === null) return say(EMPTY);
  if (found("said").textContent === EMPTY) say("");
  const bytes = toBytes(how, shown);
  drawPicture(found<HTMLCanvasElement>("seen"), bytes, height, width, channels);
  for (const panel of panels) panel.see(bytes);
  goTo(height);
  quiet = window.setTimeout(tell, QUIET);
}

/** Shows so many rows as read. */
function goTo(rows: number): void {
  slider.value = String(rows);
  const words = `row ${rows} of ${height}`;
  slider.setAttribute("aria-valuetext", words);
  found("rows").textContent = words;
  mark(found("seen"), (rows - 1) / height, 1 / height, "--row");
  if (read) for (const panel of panels) panel.show(rows - 1);
}

/** Says the answers. */
function tell(): void {
  const beliefs = models.map(({ title }, place) => {
    const { name, probability } = panels[place].belief;
    return `${title} reads ${name}, ${sure(probability)}`;
  });
  say(`${beliefs.join("; ")}.`);
}

function play(): void {
  if (playing) return stop();
  if (!read) return say(EMPTY);
  clearTimeout(quiet);
  found("play").textContent = "Pause";
  let rows = Number(slider.value) >= height ? 0 : Number(slider.value);
  let last = performance.now();
  const next = (now: number): void => {
    if (now - last >= PACE) {
      last = now;
      goTo(++rows);
      if (rows >= height) {
        stop();
        return tell();
      }
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

function addExample(example: Example, place: number): void {
  const canvas = document.createElement("canvas");
  const { data } = drawPicture(canvas, example.bytes, example.height, example.width, example.channels);
  const button = found("examples").appendChild(document.createElement("button"));
  button.type = "button";
  button.setAttribute("aria-label", `Example ${place + 1}: ${example.label}`);
  button.append(canvas);
  button.addEventListener("click", () => input.show({ width: example.width, height: example.height, data }, canvas));
}

examples.forEach(addExample);
found("choose").hidden = examples.length === 0;
const seen = found("seen");
seen.parentElement!.style.aspectRatio = `${width} / ${height}`;
found("play").addEventListener("click", play);
slider.addEventListener("input", () => {
  stop();
  goTo(Number(slider.value));
});
for (const name of ["pointerdown", "pointermove"] as const)
  seen.addEventListener(name, (event) => {
    if (event.buttons === 0) return;
    const box = seen.getBoundingClientRect();
    const row = Math.ceil(((event.clientY - box.top) / box.height) * height);
    stop();
    goTo(Math.min(height, Math.max(1, row)));
  });
input.drawing.clear();
document.body.classList.remove("building");
