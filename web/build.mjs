// Bundles the page into the one file that the program contains, and writes its content security policy beside it.
// `node build.mjs --check` writes nothing and fails if what is committed is not what comes out.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync, mkdirSync } from "node:fs";
import { build } from "esbuild";

const here = new URL(".", import.meta.url);
const out = new URL("../crates/chronotick/src/http/page/", here);
const read = (path) => readFileSync(new URL(path, here), "utf8");

async function bundle(entry) {
  const result = await build({
    entryPoints: [new URL(entry, here).pathname],
    bundle: true,
    minify: true,
    write: false,
    format: "iife",
    target: "es2022",
    charset: "utf8",
    legalComments: "none",
  });
  return result.outputFiles[0].text.trim();
}

const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

const script = await bundle("src/main.ts");
const style = await bundle("src/style.css");
if (/<\/script|<!--/i.test(script) || /<\/style/i.test(style)) {
  throw new Error("the bundle would end its own element");
}
const page = read("src/index.html")
  .replace("/*STYLE*/", () => style)
  .replace("/*SCRIPT*/", () => script);
const policy = [
  "default-src 'none'",
  `script-src ${hash(script)}`,
  `style-src ${hash(style)}`,
  "img-src data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");
const licence = read("node_modules/uplot/LICENSE");

const files = { "index.html": page, "policy.txt": policy, "LICENSE-uplot": licence };
if (process.argv.includes("--check")) {
  for (const [name, text] of Object.entries(files)) {
    if (readFileSync(new URL(name, out), "utf8") !== text) {
      console.error(`${name} is not what web/ builds: run \`npm run build\` in web/ and commit the result`);
      process.exit(1);
    }
  }
  console.log(`the committed page is what web/ builds (${page.length} characters)`);
} else {
  mkdirSync(out, { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(new URL(name, out), text);
  console.log(`${page.length} characters`);
}
