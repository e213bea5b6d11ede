/** Numbers in words. */

const UNSURE = 0.7; // probability below which an answer is marked, as by `rowrnn predict`

/** Writes a probability in percent; one that is not quite 1 does not look like it. */
export function percent(share: number): string {
  return share > 0.995 && share < 1 ? "> 99 %" : `${(100 * share).toFixed(0)} %`;
}

/** Writes how sure an answer is. */
export function sure(share: number): string {
  return `${percent(share)} sure${share < UNSURE ? ", which is unsure" : ""}`;
}

/** Writes a number with two digits, and a minus that is as wide as a plus. */
export function number(value: number): string {
  const rounded = Math.abs(value).toFixed(2);
  return value < 0 && Number(rounded) > 0 ? `−${rounded}` : rounded;
}
