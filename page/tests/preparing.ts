/**
 * Prepares pictures as the page does, for the comparison with Python: `node preparing.mjs CASES.json PICTURES OUT`.
 *
 * CASES are the preprocessing, height and width of each picture; PICTURES are red, green, blue and alpha, one picture after
 * another; OUT are the bytes that models take.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { toBytes, type Preprocessing } from "../src/preprocessing";

const [casesFile, picturesFile, outFile] = process.argv.slice(2);
const cases: { how: Preprocessing; height: number; width: number }[] = JSON.parse(readFileSync(casesFile, "utf8"));
const pictures = new Uint8ClampedArray(readFileSync(picturesFile));
const found: number[] = [];
let from = 0;
for (const { how, height, width } of cases) {
  const data = pictures.subarray(from, (from += 4 * height * width));
  found.push(...toBytes(how, { height, width, data }));
}
writeFileSync(outFile, Uint8Array.from(found));
