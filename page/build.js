// Bundles the page into one template, into which `rowrnn page` puts models; with --tests, the sources for node's tests;
// with --check, only compares the template with its sources.

import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const TEMPLATE = new URL("../rowrnn/lab/page/template.html", import.meta.url);
const source = (name) => readFileSync(new URL(`src/${name}`, import.meta.url), "utf8");

if (process.argv.includes("--tests")) {
  const tests = readdirSync("tests").filter((name) => name.endsWith(".test.ts"));
  await build({
    entryPoints: [...tests.map((name) => `tests/${name}`), "tests/reading.ts"],
    outdir: "dist/tests",
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    outExtension: { ".js": ".mjs" },
  });
} else {
  const bundled = await build({
    entryPoints: ["src/main.ts"],
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    target: "es2022",
    legalComments: "none",
  });
  const style = await build({ entryPoints: ["src/style.css"], minify: true, write: false });
  const script = bundled.outputFiles[0].text.trim();
  const hash = createHash("sha256").update(script).digest("base64");
  // Only this script runs, and nothing is fetched from anywhere.
  const policy = `default-src 'none'; script-src 'sha256-${hash}'; style-src 'unsafe-inline'; img-src blob: data:; base-uri 'none'; form-action 'none'`;
  const parts = { POLICY: policy, STYLE: style.outputFiles[0].text.trim(), SCRIPT: script };
  // Functions, since $ has a meaning in replacements.
  const page = Object.entries(parts).reduce((text, [name, part]) => text.replace(`{{${name}}}`, () => part), source("index.html"));
  if (!process.argv.includes("--check")) writeFileSync(TEMPLATE, page);
  else if (readFileSync(TEMPLATE, "utf8") !== page) {
    console.error("rowrnn/lab/page/template.html is not what page/src gives: run make page, and commit both.");
    process.exit(1);
  }
}
