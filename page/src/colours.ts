/** Colours of numbers, which people who are colour-blind tell apart too. */

export type Colour = [number, number, number];

// Viridis and a blue-orange map at equal distances.
const GROWING: Colour[] = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const SIGNED: Colour[] = [[5, 80, 174], [125, 175, 225], [245, 245, 245], [240, 170, 90], [179, 88, 6]];

/** Returns the colour of a number from 0 to 1. */
export const growing = (value: number): Colour => between(GROWING, value);

/** Returns the colour of a number from -1 to 1: blue below zero, orange above. */
export const signed = (value: number): Colour => between(SIGNED, (value + 1) / 2);

/** Returns the grey of a number from 0 to 255. */
export const grey = (value: number): Colour => [value, value, value];

function between(colours: Colour[], share: number): Colour {
  const place = Math.min(Math.max(share, 0), 1) * (colours.length - 1);
  const first = Math.min(Math.floor(place), colours.length - 2);
  return colours[first].map((from, i) => from + (colours[first + 1][i] - from) * (place - first)) as Colour;
}
