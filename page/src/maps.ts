/** Maps of numbers on a canvas: one square a number, rows from the top. */

import type { Colour } from "./colours";

/** Draws rows of numbers, those from `known` on blank, and marks a row and a column where they are given. */
export function drawMap(
  canvas: HTMLCanvasElement,
  rows: ArrayLike<number>[],
  colour: (value: number) => Colour,
  { known = rows.length, row = -1, column = -1 }: { known?: number; row?: number; column?: number } = {},
): void {
  const wide = rows[0].length;
  if (canvas.width !== wide) canvas.width = wide;
  if (canvas.height !== rows.length) canvas.height = rows.length;
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(wide, rows.length);
  rows.forEach((numbers, y) => {
    for (let x = 0; x < wide; x++) {
      const pixel = y < known ? colour(numbers[x]) : [0, 0, 0];
      const at = 4 * (y * wide + x);
      image.data.set([...pixel, y < known ? 255 : 0], at);
    }
  });
  context.putImageData(image, 0, 0);
  mark(canvas, row / rows.length, 1 / rows.length, "--row");
  mark(canvas, column / wide, 1 / wide, "--column");
}

/** Tells the style sheet where the mark is, in shares of the map; it is drawn beside the pixels, not over them. */
function mark(canvas: HTMLCanvasElement, from: number, size: number, name: string): void {
  const frame = canvas.parentElement!;
  frame.style.setProperty(`${name}-from`, `${from * 100}%`);
  frame.style.setProperty(`${name}-size`, `${size * 100}%`);
  frame.classList.toggle(name.slice(2), from >= 0);
}
