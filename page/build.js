// Bundles the pages into templates, into which `rowrnn page` puts models; with --tests, the sources for node's tests;
// with --check, only compares the template with its sources.

import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const PAGES = { main: ["index.html", "template.html"], lines: ["lines.html", "lines_template.html"] };
const source = (name) => readFileSync(new URL(`src/${name}`, import.meta.url), "utf8");

if (process.argv.includes("--tests")) {
  const tests = readdirSync("tests").filter((name) => name.endsWith(".test.ts"));
  await build({
    entryPoints: [...tests.map((name) => `tests/${name}`), "tests/reading.ts", "tests/reading_lines.ts"],
    outdir: "dist/tests",
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    outExtension: { ".js": ".mjs" },
  });
} else for (const [script, [html, template]] of Object.entries(PAGES)) write(template, await bundled(script, html));

/** Returns a page with its script and style inside. */
async function bundled(name, html) {
  const how = { bundle: true, minify: true, write: false, format: "esm", target: "es2022", legalComments: "none" };
  const script = (await build({ ...how, entryPoints: [`src/${name}.ts`] })).outputFiles[0].text.trim();
  const style = await build({ entryPoints: ["src/style.css"], minify: true, write: false });
  const hash = createHash("sha256").update(script).digest("base64");
  // Only this script runs, and nothing is fetched from anywhere.
  const policy = `default-src 'none'; script-src 'sha256-${hash}'; style-src 'unsafe-inline'; img-src blob: data:; base-uri 'none'; form-action 'none'`;
  const parts = { POLICY: policy, STYLE: style.outputFiles[0].text.trim(), SCRIPT: script };
  // Functions, since $ has a meaning in replacements.
  return Object.entries(parts).reduce((text, [mark, part]) => text.replace(`{{${mark}}}`, () => part), source(html));
}

function write(template, page) {
  const file = new URL(`../rowrnn/lab/page/${template}`, import.meta.url);
  if (!process.argv.includes("--check")) return writeFileSync(file, page);
  if (readFileSync(file, "utf8") === page) return;
  console.error(`rowrnn/lab/page/${template} is not what page/src gives: run make page, and commit both.`);
  process.exit(1);
}
