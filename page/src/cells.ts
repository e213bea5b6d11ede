/** One step of an LSTM and of a GRU, by the equations of rowrnn/cells/gated.py. */

export type Gates = Record<string, Float32Array>;

/** What a cell has computed in a step; `cell` is the cell state of an LSTM. */
export interface Step {
  gates: Gates;
  hidden: Float32Array;
  cell?: Float32Array;
}

/** A gate that is held at a value: 0 shut, 1 open; of one unit, or of all where there is none. */
export interface Hold {
  gate: string;
  unit: number | null;
  value: number;
}

/** Weights of a cell: kernels [rows, gates · hidden], row by row. */
export interface Weights {
  input: Float32Array;
  recurrent: Float32Array;
  bias: Float32Array;
  candidateBias?: Float32Array;
  hidden: number;
}

export type Kind = "lstm" | "gru";

/** Names of the gates in the order of the kernels; those before the candidate may be held. */
export const GATES: Record<Kind, string[]> = {
  lstm: ["input", "forget", "cell", "output"],
  gru: ["reset", "update", "candidate"],
};
export const HELD: Record<Kind, string[]> = { lstm: ["input", "forget", "output"], gru: ["reset", "update"] };

const sigmoid = (a: number): number => 1 / (1 + Math.exp(-a));

/** Returns the state before the first row. */
export function zeroState(kind: Kind, hidden: number): Step {
  const zeros = new Float32Array(hidden);
  return kind === "lstm" ? { gates: {}, hidden: zeros, cell: zeros } : { gates: {}, hidden: zeros };
}

/** Computes the step that follows from a row `x` and the state before it. */
export function step(kind: Kind, weights: Weights, before: Step, x: Float32Array, holds: Hold[] = []): Step {
  const { hidden } = weights;
  const names = GATES[kind];
  const ofRow = product(x, weights.input, weights.bias);
  const ofState = product(before.hidden, weights.recurrent);
  const gates: Gates = Object.fromEntries(names.map((name) => [name, new Float32Array(hidden)]));
  const after: Step = { gates, hidden: new Float32Array(hidden) };
  if (kind === "lstm") after.cell = new Float32Array(hidden);
  const sum = (gate: number, unit: number): number => ofRow[gate * hidden + unit] + ofState[gate * hidden + unit];
  for (let unit = 0; unit < hidden; unit++) {
    if (kind === "lstm") {
      const i = held(holds, "input", unit, sigmoid(sum(0, unit)));
      const f = held(holds, "forget", unit, sigmoid(sum(1, unit)));
      const g = Math.tanh(sum(2, unit));
      const o = held(holds, "output", unit, sigmoid(sum(3, unit)));
      const c = f * before.cell![unit] + i * g;
      gates.input[unit] = i;
      gates.forget[unit] = f;
      gates.cell[unit] = g;
      gates.output[unit] = o;
      after.cell![unit] = c;
      after.hidden[unit] = o * Math.tanh(c);
    } else {
      const r = held(holds, "reset", unit, sigmoid(sum(0, unit)));
      const z = held(holds, "update", unit, sigmoid(sum(1, unit)));
      const recurrent = ofState[2 * hidden + unit] + weights.candidateBias![unit];
      const n = Math.tanh(ofRow[2 * hidden + unit] + r * recurrent);
      gates.reset[unit] = r;
      gates.update[unit] = z;
      gates.candidate[unit] = n;
      after.hidden[unit] = (1 - z) * n + z * before.hidden[unit];
    }
  }
  return after;
}

/** Returns vector · kernel (+ bias); the kernel is [rows, columns]. */
export function product(vector: Float32Array, kernel: Float32Array, bias?: Float32Array): Float64Array {
  const columns = kernel.length / vector.length;
  const sums = bias ? new Float64Array(bias) : new Float64Array(columns);
  for (let row = 0, from = 0; row < vector.length; row++, from += columns) {
    const value = vector[row];
    if (value === 0) continue;
    for (let column = 0; column < columns; column++) sums[column] += value * kernel[from + column];
  }
  return sums;
}

function held(holds: Hold[], gate: string, unit: number, computed: number): number {
  const hold = holds.find((one) => one.gate === gate && (one.unit === null || one.unit === unit));
  return hold ? hold.value : computed;
}
