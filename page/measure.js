// Measures the page of digits in a browser, and prints: first paint, what a movement of the pen takes, frames while drawing.
// `node measure.js`, of docs/reader.html.

import { chromium } from "@playwright/test";
import { resolve } from "node:path";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const page = await browser.newPage({ viewport: { width: 1600, height: 1000 } });
const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

await page.goto(`file://${resolve("../docs/reader.html")}`);
await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length > 0);
const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime);
console.log(`first contentful paint after ${paint.toFixed(0)} ms`);

// What one movement takes: the stroke, what the networks see, a reading by both, and all maps and charts.
const moves = await page.evaluate(() => {
  const canvas = document.getElementById("drawing");
  canvas.setPointerCapture = () => {}; // the pointer of made events is none of the browser's
  const box = canvas.getBoundingClientRect();
  // What waits for the next frame is done at once, to be timed.
  window.requestAnimationFrame = (f) => (f(performance.now()), 0);
  const send = (name, x, y) => {
    const at = { clientX: box.left + x, clientY: box.top + y, pointerId: 1, bubbles: true };
    const started = performance.now();
    canvas.dispatchEvent(new PointerEvent(name, at));
    return performance.now() - started;
  };
  send("pointerdown", 60, 60);
  const taken = Array.from({ length: 200 }, (_, i) => send("pointermove", 60 + 0.7 * i, 60 + (i > 100 ? i - 100 : 0)));
  send("pointerup", 200, 160);
  return taken;
});
console.log(`a movement of the pen: median ${median(moves).toFixed(1)} ms, longest ${Math.max(...moves).toFixed(1)} ms`);

await page.reload();
const box = await page.locator("#drawing").boundingBox();
await page.evaluate(() => {
  window.frames = [];
  const next = (now) => {
    window.frames.push(now);
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
});
await page.mouse.move(box.x + 60, box.y + 60);
await page.mouse.down();
const until = Date.now() + 3000;
for (let i = 0; Date.now() < until; i++) await page.mouse.move(box.x + 140 + 80 * Math.cos(i / 9), box.y + 140 + 90 * Math.sin(i / 9));
await page.mouse.up();
const times = await page.evaluate(() => window.frames);
const gaps = times.slice(1).map((time, i) => time - times[i]);
console.log(`frames while drawing: ${(1000 / median(gaps)).toFixed(0)} a second in the median, ${gaps.length} in 3 s`);
await browser.close();
