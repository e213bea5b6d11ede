// Bundles the pages into templates, into which `rowrnn page` puts models; with --tests, the sources for node's tests;
// with --check, only compares the template with its sources.

import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const PAGES = { classifier_page: "classifier.html", lines_page: "lines.html" };
const source = (name) => readFileSync(new URL(`src/${name}`, import.meta.url), "utf8");

if (process.argv.includes("--tests")) {
  const tests = readdirSync("tests").filter((name) => name.endsWith(".test.ts"));
  await build({
    entryPoints: [...tests.map((name) => `tests/${name}`), "tests/reading.ts", "tests/reading_lines.ts", "tests/preparing.ts"],
    outdir: "dist/tests",
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    outExtension: { ".js": ".mjs" },
  });
} else for (const [name, template] of Object.entries(PAGES)) write(template, await bundled(name));

/** Returns a page with its script and style inside. */
async function bundled(name) {
  const how = { bundle: true, minify: true, write: false, format: "esm", target: "es2022", legalComments: "none" };
  const script = (await build({ ...how, entryPoints: [`src/${name}.ts`] })).outputFiles[0].text.trim();
  const style = (await build({ ...how, entryPoints: ["src/style.css"] })).outputFiles[0].text.trim();
  const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  // Only this script and this style, and nothing is fetched from anywhere.
  const of = `script-src ${hash(script)}; style-src ${hash(style)}`;
  const parts = { POLICY: `default-src 'none'; ${of}; base-uri 'none'; form-action 'none'`, STYLE: style, SCRIPT: script };
  // Functions, since $ has a meaning in replacements.
  return Object.entries(parts).reduce((text, [mark, part]) => text.replace(`{{${mark}}}`, () => part), source(`${name}.html`));
}

function write(template, page) {
  const file = new URL(`../rowrnn/lab/page/${template}`, import.meta.url);
  if (!process.argv.includes("--check")) return writeFileSync(file, page);
  if (readFileSync(file, "utf8") === page) return;
  console.error(`rowrnn/lab/page/${template} is not what page/src gives: run make page, and commit both.`);
  process.exit(1);
}
