/** Steps of both cells by hand, with gates that are held. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { product, step, type Step, type Weights } from "../src/cells";
import { equations } from "../src/equations";
import { number, percent } from "../src/words";

const near = (found: number, expected: number): void => assert.ok(Math.abs(found - expected) < 1e-6, `${found}, ${expected}`);
const sigmoid = (a: number): number => 1 / (1 + Math.exp(-a));

const lstm: Weights = {
  input: Float32Array.from([0.5, -0.25, 1, 0.75]),
  recurrent: Float32Array.from([0.1, 0.2, -0.3, 0.4]),
  bias: Float32Array.from([0.01, 1, -0.2, 0.3]),
  hidden: 1,
};
const before: Step = { gates: {}, hidden: Float32Array.of(0.5), cell: Float32Array.of(-0.75) };

test("a step of an LSTM", () => {
  const after = step("lstm", lstm, before, Float32Array.of(2));
  const [i, f, o] = [sigmoid(1.06), sigmoid(0.6), sigmoid(2)];
  const g = Math.tanh(1.65);
  const c = f * -0.75 + i * g;
  near(after.gates.input[0], i);
  near(after.gates.forget[0], f);
  near(after.gates.cell[0], g);
  near(after.cell![0], c);
  near(after.hidden[0], o * Math.tanh(c));
});

test("a step of a GRU", () => {
  const gru: Weights = {
    input: Float32Array.from([0.5, -0.25, 1]),
    recurrent: Float32Array.from([0.1, 0.2, -0.3]),
    bias: Float32Array.from([0.01, 1, -0.2]),
    candidateBias: Float32Array.of(0.6),
    hidden: 1,
  };
  const after = step("gru", gru, { gates: {}, hidden: Float32Array.of(0.5) }, Float32Array.of(2));
  const [r, z] = [sigmoid(1.06), sigmoid(0.6)];
  const n = Math.tanh(1.8 + r * (-0.15 + 0.6));
  near(after.hidden[0], (1 - z) * n + z * 0.5);
});

test("gates that are held", () => {
  const x = Float32Array.of(2);
  const kept = step("lstm", lstm, before, x, [
    { gate: "input", unit: 0, value: 0 },
    { gate: "forget", unit: null, value: 1 },
  ]);
  near(kept.cell![0], -0.75);
  const other = step("lstm", lstm, before, x, [{ gate: "input", unit: 1, value: 0 }]);
  assert.deepEqual(other, step("lstm", lstm, before, x));
});

test("products of rows of zeros are skipped, not lost", () => {
  assert.deepEqual([...product(Float32Array.of(0, 2), Float32Array.of(1, 2, 3, 4), Float32Array.of(10, 20))], [16, 28]);
});

test("equations hold with the numbers put in", () => {
  const after = step("lstm", lstm, before, Float32Array.of(2));
  const [cell] = equations("lstm", before, after, 0);
  const values = [after.cell![0], after.gates.forget[0], -0.75, after.gates.input[0], after.gates.cell[0]].map(number);
  assert.equal(cell.numbers, `${values[0]} = ${values[1]} · ${values[2]} + ${values[3]} · ${values[4]}`);
  assert.equal(number(-0.001), "0.00");
  assert.equal(number(-1.5), "−1.50");
  assert.deepEqual([0.994, 0.9996, 1].map(percent), ["99 %", "> 99 %", "100 %"]);
});
