/**
 * Reads lines as the page does, for the comparison with JAX: `node reading_lines.mjs MODEL.json WIDTH… LINES OUT`.
 *
 * LINES are bytes, one line after another, each in the height of the model and its WIDTH; OUT is float32: of each line the
 * probabilities at every strip.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { readLine } from "../src/line_reader";
import { toFloats } from "../src/preprocessing";
import { lineReader } from "../src/stored_line_reader";

const [modelFile, ...rest] = process.argv.slice(2);
const [linesFile, outFile] = rest.splice(-2);
const model = lineReader(JSON.parse(readFileSync(modelFile, "utf8")));
const lines = new Uint8Array(readFileSync(linesFile));
const numbers: number[] = [];
let from = 0;
for (const width of rest.map(Number)) {
  const line = toFloats(model.preprocessing, lines.subarray(from, from + model.height * width));
  from += model.height * width;
  for (const probabilities of readLine(model, line, width)) numbers.push(...probabilities);
}
writeFileSync(outFile, new Uint8Array(Float32Array.from(numbers).buffer));
