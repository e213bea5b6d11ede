/** The page of the reader of lines, in a browser. */

import { expect, test } from "@playwright/test";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const FILES = resolve("dist/page");
const PAGE = `file://${FILES}/lines.html`;
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const troubles: string[] = [];

test.beforeEach(async ({ page }) => {
  troubles.length = 0;
  page.on("console", (message) => troubles.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => troubles.push(`error: ${error.message}`));
  page.on("request", (request) => request.url() === PAGE || request.url().startsWith("blob:") || troubles.push(request.url()));
  await page.goto(PAGE);
});

test.afterEach(() => expect(troubles).toEqual([]));

test("a line that is dropped gets the best path of predict", async ({ page }) => {
  const predicted: { lines: [string, string][] } = JSON.parse(readFileSync(`${FILES}/predicted.json`, "utf8"));
  expect(predicted.lines.length).toBeGreaterThan(1);
  for (const [file, text] of predicted.lines) {
    await page.locator("#file").setInputFiles(`${FILES}/${file}`);
    await expect(page.locator("#said")).toContainText("Read in");
    await expect(page.locator("#text")).toHaveText(text);
    // Every character stands in the list with its columns, in their order.
    const items = await page.locator("#list li").allTextContents();
    expect(items.map((item) => item.slice(0, item.indexOf(": "))).join("").replaceAll("␣", " ")).toBe(text);
    await page.getByRole("button", { name: "Clear" }).click();
  }
});

test("what is written is read, and forgotten when it is cleared", async ({ page }) => {
  const box = (await page.locator("#drawing").boundingBox())!;
  const at = (x: number, y: number): [number, number] => [box.x + x, box.y + y];
  // An l, three times.
  for (const x of [60, 100, 140]) {
    await page.mouse.move(...at(x + 6, 30));
    await page.mouse.down();
    await page.mouse.move(...at(x, 115), { steps: 8 });
    await page.mouse.up();
  }
  await expect(page.locator("#said")).toContainText("Read in");
  expect((await page.locator("#text").textContent())!.length).toBeGreaterThan(0);
  const slider = page.getByRole("slider");
  await slider.focus();
  await page.keyboard.press("End");
  const last = await page.locator("#place").textContent();
  await page.keyboard.press("ArrowLeft");
  expect(await page.locator("#place").textContent()).not.toBe(last);
  const shares = await page.locator("#beliefs .share").allTextContents();
  expect(shares).toHaveLength(5);
  await page.getByRole("button", { name: "Clear" }).click();
  await expect(page.locator("#text")).toHaveText("");
  await expect(page.locator("#said")).toContainText("Nothing to read");
});

test("what is no line is refused in a sentence", async ({ page }) => {
  const text = { name: "a.txt", mimeType: "text/plain", buffer: Buffer.from("a line") };
  await page.locator("#file").setInputFiles(text);
  await expect(page.locator("#said")).toHaveText("a.txt is no picture; drop a PNG, JPEG, WebP, GIF or BMP.");
  const wide = await page.evaluate(async () => {
    const canvas = new OffscreenCanvas(4100, 20);
    canvas.getContext("2d")!.fillRect(0, 0, 9, 9);
    return Array.from(new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer()));
  });
  await page.locator("#file").setInputFiles({ name: "wide.png", mimeType: "image/png", buffer: Buffer.from(wide) });
  await expect(page.locator("#said")).toContainText("would be 8200 columns wide at 40 rows; a line has at most 4000");
});

for (const colorScheme of ["light", "dark"] as const)
  for (const width of [360, 1600])
    test(`axe finds nothing at ${width} pixels, ${colorScheme}`, async ({ page }) => {
      const predicted: { lines: [string, string][] } = JSON.parse(readFileSync(`${FILES}/predicted.json`, "utf8"));
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 900 });
      await page.goto(PAGE);
      await page.locator("#file").setInputFiles(`${FILES}/${predicted.lines[0][0]}`);
      await expect(page.locator("#said")).toContainText("Read in");
      await page.evaluate(AXE);
      const found = await page.evaluate(async () => {
        const { axe } = window as unknown as { axe: { run: () => Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> } };
        return (await axe.run()).violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`);
      });
      expect(found).toEqual([]);
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
      await page.screenshot({ path: `dist/page/lines-${width}-${colorScheme}.png`, fullPage: true });
    });
