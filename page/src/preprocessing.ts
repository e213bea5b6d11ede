/** What is done to a picture before a model sees it, as rowrnn/saving/preprocessing.py does it. */

import { centredDigit } from "./digits";
import { resample, triangleWeights } from "./resampling";

export interface Preprocessing {
  size: [number | null, number | null]; // null follows from the other and the aspect of the picture
  fit: "stretch" | "pad" | "crop";
  channels: 1 | 3;
  invert: boolean;
  like_mnist: boolean;
  mean: number[] | null;
  std: number[] | null;
  background: number;
  levels: [number, number];
}

/** A picture as a canvas gives it: red, green, blue and alpha, in bytes; it is opaque. */
export interface Picture {
  width: number;
  height: number;
  data: Uint8ClampedArray;
}

const LUMA = [19595, 38470, 7471]; // ITU-R 601 in parts of 65536
const HALF = 0.5 + 2 ** -10;

/** Returns height and width of what becomes of a picture. */
export function sizeOf({ size: [to, across] }: Preprocessing, { height, width }: Picture): [number, number] {
  return [
    to ?? (across === null ? height : Math.ceil((height * across) / width)),
    across ?? (to === null ? width : Math.ceil((width * to) / height)),
  ];
}

/** Brings a picture to the size, channels and polarity of a model, in whole grey values [height, width, channels]. */
export function toBytes(how: Preprocessing, picture: Picture): Uint8Array {
  const { width, height } = picture;
  let bytes = levelled(how, inChannels(picture, how.channels));
  if (how.like_mnist) return whole(centredDigit(bytes, height, width).map((ink) => 255 * ink));
  const size = sizeOf(how, picture);
  if (size[0] !== height || size[1] !== width) bytes = resized(how, bytes, [height, width], size);
  return how.invert ? bytes.map((value) => 255 - value) : bytes;
}

/** Converts bytes to what a model takes. */
export function toFloats(how: Preprocessing, bytes: Uint8Array): Float32Array {
  return Float32Array.from(bytes, (value, place) => {
    const channel = place % how.channels;
    const float = Math.fround(value / 255) - (how.mean ? Math.fround(how.mean[channel]) : 0);
    return float / (how.std ? Math.fround(how.std[channel]) : 1);
  });
}

function whole(values: Float64Array | Float32Array): Uint8Array {
  return Uint8Array.from(values, (value) => Math.min(255, Math.max(0, Math.floor(value + HALF))));
}

/** Brings an opaque picture to grey or colour, by whole-number arithmetic. */
function inChannels({ data, width, height }: Picture, channels: 1 | 3): Uint8Array {
  const pixels = width * height;
  const found = new Uint8Array(pixels * channels);
  for (let pixel = 0, from = 0; pixel < pixels; pixel++, from += 4) {
    const [red, green, blue] = [data[from], data[from + 1], data[from + 2]];
    if (channels === 1) found[pixel] = (red * LUMA[0] + green * LUMA[1] + blue * LUMA[2] + 2 ** 15) >> 16;
    else found.set([red, green, blue], 3 * pixel);
  }
  return found;
}

function levelled(how: Preprocessing, bytes: Uint8Array): Uint8Array {
  const [black, white] = how.levels;
  if (black === 0 && white === 255) return bytes;
  return whole(Float32Array.from(bytes, (value) => (value - black) * Math.fround(255 / (white - black))));
}

/** What of a picture is shown along one axis: first new pixel and their number, where the part begins, and its step. */
interface Shown {
  first: number;
  count: number;
  start: number;
  step: number;
}

type Size = [number, number];

function resized(how: Preprocessing, bytes: Uint8Array, old: Size, size: Size): Uint8Array {
  const [down, across] = shown(how, old, size);
  const [height, width] = old;
  const [newHeight, newWidth] = size;
  const weights = ({ first, start, step }: Shown, pixels: number, size: number): Float64Array =>
    triangleWeights(
      pixels,
      Float64Array.from({ length: size }, (_, place) => start + (place - first + 0.5) * step),
      step,
    );
  const vertical = weights(down, height, newHeight);
  const horizontal = weights(across, width, newWidth);
  const found = resample(bytes, height, width, how.channels, vertical, horizontal);
  const inside = ({ first, count }: Shown, place: number): boolean => place >= first && place < first + count;
  return whole(
    found.map((value, place) => {
      const pixel = Math.floor(place / how.channels);
      const within = inside(down, Math.floor(pixel / newWidth)) && inside(across, pixel % newWidth);
      return within ? value : how.background;
    }),
  );
}

function shown(how: Preprocessing, [height, width]: Size, size: Size): [Shown, Shown] {
  const [toHeight, toWidth] = size;
  const given = how.size[0] !== null && how.size[1] !== null;
  let show = [toHeight, toWidth];
  let seen = [height, width];
  if (given && how.fit === "pad") {
    const fitting = (to: number, other: number, side: number, beside: number): number =>
      Math.min(to, Math.max(1, Math.floor((2 * side * other + beside) / (2 * beside))));
    show = [fitting(toHeight, toWidth, height, width), fitting(toWidth, toHeight, width, height)];
  }
  if (given && how.fit === "crop") {
    const aspect = toWidth / toHeight;
    seen = [Math.min(height, width / aspect), Math.min(width, height * aspect)];
  }
  const axis = (place: 0 | 1): Shown => ({
    first: Math.floor((size[place] - show[place]) / 2),
    count: show[place],
    start: ([height, width][place] - seen[place]) / 2,
    step: seen[place] / show[place],
  });
  return [axis(0), axis(1)];
}
