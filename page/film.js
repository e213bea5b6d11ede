// Films the page for README: a seven is drawn, and read row by row. Frames go to dist/film, film.py makes them one file.

import { chromium } from "@playwright/test";
import { mkdirSync, rmSync } from "node:fs";
import { resolve } from "node:path";

const STROKE = [[0.25, 0.2], [0.5, 0.2], [0.75, 0.2], [0.62, 0.45], [0.5, 0.68], [0.42, 0.88]];
const folder = resolve("dist/film");
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const page = await browser.newPage({ viewport: { width: 1250, height: 1080 }, colorScheme: "light", deviceScaleFactor: 0.6 });
await page.goto(`file://${resolve("../docs/reader.html")}`);
const main = await page.locator("main").boundingBox();
let frame = 0;
const shoot = () =>
  page.screenshot({
    path: `${folder}/${String(frame++).padStart(2, "0")}.png`,
    clip: { x: main.x, y: main.y, width: main.width, height: 1080 - main.y },
  });
const box = await page.locator("#drawing").boundingBox();
const at = ([x, y]) => [box.x + x * box.width, box.y + y * box.height];
await page.mouse.move(...at(STROKE[0]));
await page.mouse.down();
for (const point of STROKE.slice(1)) {
  await page.mouse.move(...at(point), { steps: 4 });
  await shoot();
}
await page.mouse.up();
for (let row = 1; row <= 28; row++) {
  // Not by `fill`, which scrolls.
  await page.locator("#row").evaluate((slider, value) => {
    slider.value = value;
    slider.dispatchEvent(new Event("input"));
  }, String(row));
  await shoot();
}
await browser.close();
