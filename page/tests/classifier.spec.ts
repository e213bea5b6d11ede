/** The page in a browser: drawn on, dragged, dropped on, offline, and looked at by axe. */

import { expect, test, type Page } from "@playwright/test";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const FILES = resolve("dist/page");
const PAGE = `file://${FILES}/classifier.html`;
const SEVEN: [number, number][] = [[0.25, 0.2], [0.5, 0.2], [0.75, 0.2], [0.62, 0.45], [0.5, 0.68], [0.42, 0.88]];
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What a page must not do: write to the console, fail, or ask for anything but itself. */
const troubles: string[] = [];

test.beforeEach(async ({ page }) => {
  troubles.length = 0;
  page.on("console", (message) => troubles.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => troubles.push(`error: ${error.message}`));
  page.on("request", (request) => request.url() === PAGE || request.url().startsWith("blob:") || troubles.push(request.url()));
  await page.goto(PAGE);
});

test.afterEach(() => expect(troubles).toEqual([]));

async function drawSeven(page: Page): Promise<void> {
  const box = (await page.locator("#drawing").boundingBox())!;
  const at = ([x, y]: [number, number]): [number, number] => [box.x + x * box.width, box.y + y * box.height];
  await page.mouse.move(...at(SEVEN[0]));
  await page.mouse.down();
  for (const point of SEVEN.slice(1)) await page.mouse.move(...at(point), { steps: 5 });
  await page.mouse.up();
}

/** Waits until both models answer, with the next frame. */
async function expectAnswer(page: Page, answer: string): Promise<void> {
  await expect(page.locator(".answer")).toHaveText([new RegExp(`^${answer},`), new RegExp(`^${answer},`)]);
}

test("a seven that is drawn by mouse is read, by both", async ({ page }) => {
  await expect(page.locator("#said")).toContainText("Nothing to read");
  await drawSeven(page);
  await expectAnswer(page, "7");
  await page.getByRole("button", { name: "Undo" }).click();
  await expect(page.locator("#said")).toContainText("Nothing to read");
});

test("a seven that is drawn by touch", async ({ browser }) => {
  const context = await browser.newContext({ hasTouch: true, viewport: { width: 360, height: 740 } });
  const page = await context.newPage();
  await page.goto(PAGE);
  await page.locator("#drawing").scrollIntoViewIfNeeded();
  const box = (await page.locator("#drawing").boundingBox())!;
  const devtools = await context.newCDPSession(page);
  const touch = (type: "touchStart" | "touchMove" | "touchEnd", point?: [number, number]): Promise<unknown> =>
    devtools.send("Input.dispatchTouchEvent", {
      type,
      touchPoints: point ? [{ x: box.x + point[0] * box.width, y: box.y + point[1] * box.height }] : [],
    });
  await touch("touchStart", SEVEN[0]);
  for (const point of SEVEN.slice(1)) await touch("touchMove", point);
  await touch("touchEnd");
  await expectAnswer(page, "7");
  await context.close();
});

test("a one that is drawn by keys", async ({ page }) => {
  await page.locator("#drawing").focus();
  await page.keyboard.press(" ");
  for (let i = 0; i < 15; i++) await page.keyboard.press("ArrowDown");
  await page.keyboard.press(" ");
  await expectAnswer(page, "1");
  await expect(page.locator("#said")).toHaveText(/Row LSTM reads 1, .*; Row GRU reads 1, /);
});

test("the cursor is dragged, pointed and played", async ({ page }) => {
  await page.getByRole("button", { name: /Example 8/ }).click();
  await expect(page.locator(".answer")).toHaveText([/^7, .* after the whole image$/, /^7, .* after the whole image$/]);
  const slider = page.getByRole("slider");
  await slider.focus();
  for (let i = 0; i < 20; i++) await page.keyboard.press("ArrowLeft");
  await expect(page.locator(".answer").first()).toContainText("after row 8 of 28");
  // What is not read yet is blank: transparent in every map.
  const opaque = await page.locator(".maps canvas").first().evaluate((canvas: HTMLCanvasElement) => {
    const { data } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
    return Array.from({ length: canvas.height }, (_, row) => data[4 * row * canvas.width + 3]);
  });
  expect(opaque).toEqual([...Array(8).fill(255), ...Array(20).fill(0)]);
  const seen = (await page.locator("#seen").boundingBox())!;
  await page.mouse.click(seen.x + 5, seen.y + (seen.height * 11.5) / 28);
  await expect(page.locator("#rows")).toHaveText("row 12 of 28");
  await page.getByRole("button", { name: "Play" }).click();
  await expect(page.getByRole("button", { name: "Pause" })).toBeVisible();
  await expect(page.locator("#said")).toHaveText(/Row LSTM reads 7, .*; Row GRU reads 7,/, { timeout: 10_000 });
});

test("a gate that is held changes the answer, and says what it was", async ({ page }) => {
  await drawSeven(page);
  const reader = page.locator(".reader").first();
  await expect(reader.locator(".without")).toHaveText("");
  await reader.getByLabel("Gate to hold").selectOption("output");
  await reader.getByLabel("Value at which").selectOption("0");
  await expect(reader.locator(".without")).toContainText("Without held gates: 7");
  // Nothing is shown by the output gate: the hidden state is zero, and the answer that of the biases.
  await expect(reader.locator(".equations dd").last()).toHaveText(/^0\.00 = 0\.00 · /);
  await reader.getByLabel("Units whose").selectOption("one");
  await expect(reader.locator(".answer")).toHaveText(/^7,/);
  await reader.getByLabel("Value at which").selectOption("");
  await expect(reader.locator(".without")).toHaveText("");
});

test("a unit that is pointed at is explained", async ({ page }) => {
  await drawSeven(page);
  const reader = page.locator(".reader").nth(1);
  const map = reader.locator(".maps canvas").first();
  const { width } = (await map.boundingBox())!;
  await map.click({ position: { x: (width * 40.5) / 85, y: 20 } });
  await expect(reader.getByLabel("Unit", { exact: true })).toHaveValue("41");
  await reader.getByLabel("Unit", { exact: true }).fill("3");
  await expect(reader.locator(".equations dd").first()).toHaveText(/= .* · .* \+ .* · /);
});

test("people's drawings that are dropped get the answers of predict", async ({ page }) => {
  const predicted: Record<string, unknown> = JSON.parse(readFileSync(`${FILES}/predicted.json`, "utf8"));
  const files = predicted.files as string[];
  for (const [number, file] of files.entries()) {
    await page.locator("#file").setInputFiles(`${FILES}/${file}`);
    for (const [place, model] of ["mnist_row_lstm", "mnist_row_gru"].entries()) {
      const answer = (predicted[model] as string[])[number];
      await expect(page.locator(".answer").nth(place), `${file}, ${model}`).toHaveText(new RegExp(`^${answer},`));
    }
  }
});

test("a PNG is dropped from the desktop", async ({ page }) => {
  const bytes = readFileSync(`${FILES}/07-7.png`).toString("base64");
  const transfer = await page.evaluateHandle((base64) => {
    const found = new DataTransfer();
    found.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], "seven.png", { type: "image/png" }));
    return found;
  }, bytes);
  await page.dispatchEvent("main", "drop", { dataTransfer: transfer });
  await expect(page.locator(".answer").first()).toHaveText(/^7,/);
});

test("what is no picture is refused in a sentence", async ({ page }) => {
  const svg = { name: "a.svg", mimeType: "image/svg+xml", buffer: Buffer.from("<svg xmlns='http://www.w3.org/2000/svg'/>") };
  const text = { name: "a.txt", mimeType: "text/plain", buffer: Buffer.from("seven") };
  const broken = { name: "a.png", mimeType: "image/png", buffer: Buffer.from("seven") };
  const large = await page.evaluate(async () => {
    const canvas = new OffscreenCanvas(5000, 4000);
    canvas.getContext("2d")!.fillRect(0, 0, 1, 1);
    const blob = await canvas.convertToBlob();
    return Array.from(new Uint8Array(await blob.arrayBuffer()));
  });
  const cases: [{ name: string; mimeType: string; buffer: Buffer }, string][] = [
    [svg, "a.svg is an SVG, which has no pixels; drop a PNG, JPEG, WebP, GIF or BMP."],
    [text, "a.txt is no picture; drop a PNG, JPEG, WebP, GIF or BMP."],
    [broken, "a.png cannot be read as a picture: it is damaged, or of another format than its name says."],
    [
      { name: "large.png", mimeType: "image/png", buffer: Buffer.from(large) },
      "large.png has 20 megapixels; make it smaller than 16, or cut out what is to be read.",
    ],
  ];
  for (const [file, words] of cases) {
    await page.locator("#file").setInputFiles(file);
    await expect(page.locator("#said")).toHaveText(words);
  }
  await page.getByRole("button", { name: "Play" }).click();
  await expect(page.locator("#said")).toHaveText("Nothing to read: draw, choose an example, or drop a picture.");
});

test("it opens without a network, and asks for none", async ({ context, page }) => {
  await context.setOffline(true);
  await context.route(/^https?:/, (route) => route.abort());
  await page.reload();
  await drawSeven(page);
  await expectAnswer(page, "7");
});

for (const colorScheme of ["light", "dark"] as const)
  for (const width of [360, 1600])
    test(`axe finds nothing at ${width} pixels, ${colorScheme}`, async ({ page }) => {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 900 });
      await page.goto(PAGE);
      const shifts = await page.evaluate(
        () => new Promise<number>((done) => {
          let sum = 0;
          new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) sum += (entry as unknown as { value: number }).value;
          }).observe({ type: "layout-shift", buffered: true });
          setTimeout(() => done(sum), 300);
        }),
      );
      expect(shifts).toBe(0);
      await page.getByRole("button", { name: /Example 4/ }).click();
      await page.evaluate(AXE);
      const found = await page.evaluate(async () => {
        const { axe } = window as unknown as { axe: { run: () => Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> } };
        return (await axe.run()).violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`);
      });
      expect(found).toEqual([]);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      expect(wide).toBeLessThanOrEqual(width);
      await page.screenshot({ path: `dist/page/${width}-${colorScheme}.png`, fullPage: true });
    });

test("everything is reached by the Tab key, and seen to be", async ({ page }) => {
  await page.getByRole("button", { name: /Example 1:/ }).click();
  await page.locator("h1").click();
  const reached: string[] = [];
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press("Tab");
    const [name, outlined] = await page.evaluate(() => {
      const at = document.activeElement as HTMLElement;
      const shown = at.id === "file" ? at.parentElement! : at;
      return [at === document.body ? "" : at.id || at.className || at.getAttribute("aria-label") || at.tagName, getComputedStyle(shown).outlineStyle];
    });
    if (name === "" && i > 0) break;
    expect(outlined, name).not.toBe("none");
    reached.push(name);
  }
  for (const name of ["drawing", "clear", "undo", "file", "play", "row", "unit", "gate", "units", "value"])
    expect(reached, name).toContain(name);
});
