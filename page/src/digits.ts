/** Finds the digit of a picture and draws it as those of MNIST were, as rowrnn/saving/digits.py does it. */

import { resample, triangleWeights } from "./resampling";

const SIDE = 28;
const BOX = 20;
const PAPER = 0.15;
const MIDDLE = 14.5;
const FLAT = 8;

/** Returns a light digit on dark, from 0 to 1, [28, 28], of grey values [height, width]. */
export function centredDigit(grey: Uint8Array, height: number, width: number): Float64Array {
  const ink = inkOf(grey, height, width);
  const rows = placed(ink, height, width, true);
  const columns = placed(ink, height, width, false);
  const step = Math.max(rows.step, columns.step);
  const vertical = triangleWeights(height, centres(rows, step), step);
  const horizontal = triangleWeights(width, centres(columns, step), step);
  const digit = resample(ink, height, width, 1, vertical, horizontal);
  const most = digit.reduce((a, b) => Math.max(a, b), 0);
  return digit.map((value) => value / Math.max(most, PAPER / 255));
}

/** Returns how much of the strongest ink each pixel has; zero in a picture without contrast. */
function inkOf(grey: Uint8Array, height: number, width: number): Float64Array {
  let border = 0;
  for (let x = 0; x < width; x++) border += grey[x] + grey[(height - 1) * width + x];
  for (let y = 0; y < height; y++) border += grey[y * width] + grey[y * width + width - 1];
  const paper = border / (2 * (width + height));
  const counts = new Float64Array(256);
  for (let place = 0; place < grey.length; place++) counts[grey[place]]++;
  let [dark, light, darkest, lightest] = [0, 0, 0, 0];
  counts.forEach((count, value) => {
    if (count === 0) return;
    const away = value - paper;
    if (away < 0) {
      dark += count * away ** 2;
      darkest = Math.max(darkest, -away);
    } else {
      light += count * away ** 2;
      lightest = Math.max(lightest, away);
    }
  });
  const sign = dark > light ? -1 : 1;
  const strongest = dark > light ? darkest : lightest;
  const ofValue = counts.map((_, value) => {
    const share = Math.max(0, sign * (value - paper)) / Math.max(strongest, 1);
    return share > PAPER && strongest > FLAT ? share : 0;
  });
  const ink = new Float64Array(grey.length);
  for (let place = 0; place < grey.length; place++) ink[place] = ofValue[grey[place]];
  return ink;
}

interface Placed {
  begin: number;
  centre: number;
  step: number;
}

function placed(ink: Float64Array, height: number, width: number, down: boolean): Placed {
  const along = new Float64Array(down ? height : width);
  for (let y = 0, place = 0; y < height; y++) for (let x = 0; x < width; x++, place++) along[down ? y : x] += ink[place];
  let begin = 1e9;
  let end = 0;
  let mass = 0;
  let moment = 0;
  along.forEach((value, place) => {
    if (value > 0) {
      begin = Math.min(begin, place);
      end = place + 1;
    }
    mass += value;
    moment += value * (place + 0.5);
  });
  return { begin, centre: moment / Math.max(mass, PAPER), step: Math.max(end - begin, 1) / BOX };
}

function centres({ begin, centre }: Placed, step: number): Float64Array {
  const first = Math.floor(MIDDLE - (centre - begin) / step + 0.5);
  return Float64Array.from({ length: SIDE }, (_, place) => begin + (place + 0.5 - first) * step);
}
