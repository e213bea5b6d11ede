/** Colours of numbers, which people who are colour-blind tell apart too. */

export type Colour = [number, number, number];

/** Colours of the numbers from `low` to `high`, in equal steps, as bytes red, green, blue and opaque in one number. */
export interface Scale {
  low: number;
  high: number;
  colours: Uint32Array;
}

const STEPS = 256;

/** From 0 to 1: viridis. */
export const GROWING = scale(0, 1, [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]);
/** From -1 to 1: blue below zero, orange above. */
export const SIGNED = scale(-1, 1, [[5, 80, 174], [125, 175, 225], [245, 245, 245], [240, 170, 90], [179, 88, 6]]);
/** Grey values from 0 to 255. */
export const GREY = scale(0, 255, [[0, 0, 0], [255, 255, 255]]);
/** The same with light and dark exchanged. */
export const INK = scale(0, 255, [[255, 255, 255], [0, 0, 0]]);

/** Returns a scale through colours at equal distances. */
export function scale(low: number, high: number, through: Colour[]): Scale {
  const bytes = new Uint8Array(4 * STEPS);
  for (let step = 0; step < STEPS; step++) {
    const place = (step / (STEPS - 1)) * (through.length - 1);
    const first = Math.min(Math.floor(place), through.length - 2);
    through[first].forEach((from, i) => (bytes[4 * step + i] = Math.round(from + (through[first + 1][i] - from) * (place - first))));
    bytes[4 * step + 3] = 255;
  }
  return { low, high, colours: new Uint32Array(bytes.buffer) };
}
