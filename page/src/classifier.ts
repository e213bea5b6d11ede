/** A classifier that reads the rows of an image, from the top, and says after each of them what it believes. */

import { product, step, zeroState, type Hold, type Kind, type Step, type Weights } from "./cells";
import type { Preprocessing } from "./preprocessing";

export interface Classifier {
  name: string;
  title: string;
  kind: Kind;
  pooling: "last" | "mean";
  classes: string[];
  height: number;
  width: number;
  channels: 1 | 3;
  preprocessing: Preprocessing;
  weights: Weights;
  head: { kernel: Float32Array; bias: Float32Array };
}

/** A step, and the probabilities of the classes as if the image ended there. */
export interface Reading extends Step {
  probabilities: Float64Array;
}

/** Reads an image, floats [height, width, channels]; returns a reading for each row. */
export function read(model: Classifier, image: Float32Array, holds: Hold[] = []): Reading[] {
  const perRow = image.length / model.height;
  const total = new Float64Array(model.weights.hidden);
  const readings: Reading[] = [];
  let state = zeroState(model.kind, model.weights.hidden);
  for (let row = 0; row < model.height; row++) {
    state = step(model.kind, model.weights, state, image.subarray(row * perRow, (row + 1) * perRow), holds);
    state.hidden.forEach((value, unit) => (total[unit] += value));
    const pooled = model.pooling === "last" ? state.hidden : Float32Array.from(total, (sum) => sum / (row + 1));
    readings.push({ ...state, probabilities: softmax(product(pooled, model.head.kernel, model.head.bias)) });
  }
  return readings;
}

/** Returns the place of the largest number. */
export function largest(numbers: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < numbers.length; i++) if (numbers[i] > numbers[best]) best = i;
  return best;
}

export function softmax(logits: Float64Array): Float64Array {
  const most = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}
