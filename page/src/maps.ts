/** Maps of numbers on a canvas: one square a number, rows from the top. */

import type { Scale } from "./colours";

/** Draws the first `known` rows of numbers, blank below, and marks a row and a column where they are given. */
export function drawMap(
  canvas: HTMLCanvasElement,
  rows: ArrayLike<number>[],
  { low, high, colours }: Scale,
  { known = rows.length, row = -1, column = -1 }: { known?: number; row?: number; column?: number } = {},
): void {
  const wide = rows[0].length;
  if (canvas.width !== wide) canvas.width = wide;
  if (canvas.height !== rows.length) canvas.height = rows.length;
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(wide, rows.length);
  const pixels = new Uint32Array(image.data.buffer);
  const steps = colours.length / (high - low);
  for (let y = 0; y < known; y++)
    for (let x = 0; x < wide; x++) {
      const step = Math.floor((rows[y][x] - low) * steps);
      pixels[y * wide + x] = colours[step < 0 ? 0 : step >= colours.length ? colours.length - 1 : step];
    }
  context.putImageData(image, 0, 0);
  mark(canvas, row / rows.length, 1 / rows.length, "--row");
  mark(canvas, column / wide, 1 / wide, "--column");
}

/** Tells the style sheet where the mark is, in shares of the map; it is drawn beside the pixels, not over them. */
export function mark(canvas: HTMLElement, from: number, size: number, name: string): void {
  const frame = canvas.parentElement!;
  frame.style.setProperty(`${name}-from`, `${from * 100}%`);
  frame.style.setProperty(`${name}-size`, `${size * 100}%`);
  frame.classList.toggle(name.slice(2), from >= 0);
}

/** Draws a picture, bytes [height, width, channels], and returns its pixels. */
export function drawPicture(
  canvas: HTMLCanvasElement,
  bytes: Uint8Array,
  height: number,
  width: number,
  channels: 1 | 3,
): ImageData {
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  for (let pixel = 0; pixel < width * height; pixel++)
    for (let part = 0; part < 4; part++)
      image.data[4 * pixel + part] = part === 3 ? 255 : bytes[pixel * channels + (channels === 3 ? part : 0)];
  canvas.getContext("2d")!.putImageData(image, 0, 0);
  return image;
}
