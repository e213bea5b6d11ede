/** A reader of lines: convolutions, recurrent layers, and a character or none for each strip of columns. */

import { product, step, zeroState, type Kind, type Weights } from "./cells";
import { largest, softmax } from "./classifier";
import { convolve, normalize, overRows, rectified, type Convolution, type Maps } from "./convolution";
import type { Preprocessing } from "./preprocessing";

export const STRIP = 4; // columns of a step

export interface Stage extends Convolution {
  norm: { scale: Float32Array; bias: Float32Array } | null;
  adds: boolean; // whether its input is added to its output
}

export interface LineReader {
  alphabet: string[];
  height: number;
  preprocessing: Preprocessing;
  epsilon: number;
  stages: Stage[];
  kind: Kind;
  layers: { forward: Weights; backward: Weights | null }[];
  head: { kernel: Float32Array; bias: Float32Array };
}

/** Returns the probabilities of each character and, last, of none, at every strip of a line of floats [height, width]. */
export function readLine(model: LineReader, line: Float32Array, width: number): Float64Array[] {
  const padded = Math.ceil(width / STRIP) * STRIP;
  let maps: Maps = { height: model.height, width: padded, channels: 1, values: new Float32Array(model.height * padded) };
  for (let y = 0; y < model.height; y++) maps.values.set(line.subarray(y * width, (y + 1) * width), y * padded);
  for (const stage of model.stages) {
    let found = convolve(maps, stage);
    if (stage.norm) found = normalize(found, stage.norm.scale, stage.norm.bias, model.epsilon);
    maps = rectified(found, stage.adds ? maps : undefined);
  }
  let features = overRows(maps);
  for (const { forward, backward } of model.layers) {
    const there = sequence(model.kind, forward, features);
    if (backward === null) features = there;
    else {
      const back = sequence(model.kind, backward, [...features].reverse()).reverse();
      features = there.map((values, place) => Float32Array.of(...values, ...back[place]));
    }
  }
  return features.map((values) => softmax(product(values, model.head.kernel, model.head.bias)));
}

function sequence(kind: Kind, weights: Weights, inputs: Float32Array[]): Float32Array[] {
  let state = zeroState(kind, weights.hidden);
  return inputs.map((x) => (state = step(kind, weights, state, x)).hidden);
}

/** A character of the best path: from which step to which it is the most probable, and how probable at its best. */
export interface Letter {
  character: string;
  first: number;
  last: number;
  probability: number;
}

/** Returns the characters of the most probable path, along the columns. */
export function bestPath(model: LineReader, probabilities: Float64Array[]): Letter[] {
  const letters: Letter[] = [];
  let before = model.alphabet.length;
  probabilities.forEach((of, place) => {
    const best = largest(of);
    if (best < model.alphabet.length) {
      const now = letters[letters.length - 1];
      if (best === before) {
        now.last = place;
        now.probability = Math.max(now.probability, of[best]);
      } else letters.push({ character: model.alphabet[best], first: place, last: place, probability: of[best] });
    }
    before = best;
  });
  return letters;
}
