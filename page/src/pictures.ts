/** Pictures that are dropped or chosen: read, or refused in a sentence. */

import type { Picture } from "./preprocessing";

const MOST_MEGAPIXELS = 16;
const TYPES = ["image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp"];

/** Error whose message is shown as it is. */
export class Refused extends Error {}

/**
 * Reads a file as a picture.
 *
 * @throws Refused if it is none that a browser can draw, or too large.
 */
export async function pictureOf(file: File): Promise<{ picture: Picture; bitmap: ImageBitmap }> {
  if (!TYPES.includes(file.type)) {
    const what = file.type === "image/svg+xml" ? "an SVG, which has no pixels" : "no picture";
    throw new Refused(`${file.name} is ${what}; drop a PNG, JPEG, WebP, GIF or BMP.`);
  }
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Refused(`${file.name} cannot be read as a picture: it is damaged, or of another format than its name says.`);
  }
  const { width, height } = bitmap;
  const megapixels = width * height * 1e-6;
  if (megapixels > MOST_MEGAPIXELS) {
    const most = `make it smaller than ${MOST_MEGAPIXELS}, or cut out what is to be read`;
    throw new Refused(`${file.name} has ${megapixels.toFixed(0)} megapixels; ${most}.`);
  }
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d")!;
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  return { picture: { width, height, data }, bitmap };
}

/** Lays a picture in the middle of white paper of an aspect, width to height. */
export function laid(shown: ImageBitmap | HTMLCanvasElement, aspect: number): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(shown.width, Math.round(shown.height * aspect));
  canvas.height = Math.max(shown.height, Math.round(shown.width / aspect));
  const context = canvas.getContext("2d")!;
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(shown, (canvas.width - shown.width) / 2, (canvas.height - shown.height) / 2);
  return canvas;
}
