/** The reader of lines that lies in the page as JSON: kernels in bytes with a scale for each column, as base64. */

import { GATES, type Kind, type Weights } from "./cells";
import { bytesOf } from "./embedded";
import type { LineReader } from "./line_reader";
import type { Preprocessing } from "./preprocessing";

/** Whole numbers from -127 to 127, and what each column is multiplied by; or floats. */
interface StoredArray {
  bytes?: string;
  scales?: string;
  floats?: string;
}

interface StoredCell {
  input: StoredArray;
  recurrent: StoredArray;
  bias: StoredArray;
  candidate_bias?: StoredArray;
}

export interface StoredReader {
  alphabet: string[];
  height: number;
  preprocessing: Preprocessing;
  epsilon: number;
  kind: Kind;
  stages: {
    kernel: StoredArray;
    bias: StoredArray;
    size: [number, number];
    strides: [number, number];
    above: number;
    left: number;
    scale: StoredArray | null;
    shift: StoredArray | null;
    adds: boolean;
  }[];
  layers: { forward: StoredCell; backward: StoredCell | null }[];
  head: { kernel: StoredArray; bias: StoredArray };
}

export function lineReader(stored: StoredReader): LineReader {
  const cell = ({ input, recurrent, bias, candidate_bias }: StoredCell): Weights => {
    const biases = array(bias);
    return {
      input: array(input),
      recurrent: array(recurrent),
      bias: biases,
      candidateBias: candidate_bias ? array(candidate_bias) : undefined,
      hidden: biases.length / GATES[stored.kind].length,
    };
  };
  return {
    alphabet: stored.alphabet,
    height: stored.height,
    preprocessing: stored.preprocessing,
    epsilon: stored.epsilon,
    kind: stored.kind,
    stages: stored.stages.map(({ kernel, bias, size, scale, shift, ...how }) => ({
      ...how,
      kernel: array(kernel),
      bias: array(bias),
      high: size[0],
      wide: size[1],
      norm: scale && shift ? { scale: array(scale), bias: array(shift) } : null,
    })),
    layers: stored.layers.map(({ forward, backward }) => ({ forward: cell(forward), backward: backward && cell(backward) })),
    head: { kernel: array(stored.head.kernel), bias: array(stored.head.bias) },
  };
}

function array({ bytes, scales, floats }: StoredArray): Float32Array {
  if (floats !== undefined) return new Float32Array(bytesOf(floats).buffer);
  const whole = new Int8Array(bytesOf(bytes!).buffer);
  const factors = new Float32Array(bytesOf(scales!).buffer);
  return Float32Array.from(whole, (value, place) => value * factors[place % factors.length]);
}
