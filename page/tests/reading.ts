/**
 * Reads images with a model as the page does, for the comparison with JAX: `node reading.mjs MODEL.json IMAGES OUT`.
 *
 * IMAGES are bytes, one image after another, in the size of the model; OUT is float32: of each image, after each row, the
 * hidden state and the probabilities.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { read } from "../src/classifier";
import { classifier } from "../src/embedded";
import { toFloats } from "../src/preprocessing";

const [modelFile, imagesFile, outFile] = process.argv.slice(2);
const model = classifier(JSON.parse(readFileSync(modelFile, "utf8")));
const images = new Uint8Array(readFileSync(imagesFile));
const size = model.height * model.width * model.channels;
const numbers: number[] = [];
for (let from = 0; from < images.length; from += size)
  for (const { hidden, probabilities } of read(model, toFloats(model.preprocessing, images.subarray(from, from + size))))
    numbers.push(...hidden, ...probabilities);
writeFileSync(outFile, new Uint8Array(Float32Array.from(numbers).buffer));
