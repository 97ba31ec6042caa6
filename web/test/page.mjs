// The page in a real browser: against a server of our own that shows everything, and against the program itself
// (`CHRONOTICK=path/to/chronotick`, with the address of an NTP server in `NTP`). Pictures go to `$SHOTS` where that is set.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { LAUNCH } from "./launch.mjs";
import { start } from "./mock.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PATIENCE = 60_000;
const browser = await chromium.launch(LAUNCH);

/** A page in a context of its own; `errors` is everything that went wrong on it, `ended` takes that as read. */
async function open(url, { width = 1280, height = 900, colorScheme = "light", bypassCSP = false } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme, bypassCSP });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const errors = [];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(error.stack));
  page.on("dialog", (dialog) => errors.push(`a dialog: ${dialog.message()}`));
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));
  await page.goto(url);
  return { page, errors, asked, close: () => context.close() };
}

const text = (page, selector) => page.locator(selector).first().innerText();
const becomes = (page, selector, pattern) =>
  page.waitForFunction(([s, p]) => new RegExp(p, "s").test(document.querySelector(s)?.textContent ?? ""), [selector, pattern.source]);
const live = (page) => becomes(page, "#link", /^live$/);
/** How many different colours a chart has: an empty one has one. */
const colours = (page, selector) =>
  page.evaluate((s) => {
    const canvas = document.querySelector(`${s} canvas`);
    const pixels = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    return new Set(pixels).size;
  }, selector);
const shot = (page, name) => process.env.SHOTS && page.screenshot({ path: join(process.env.SHOTS, `${name}.png`), fullPage: true });

const tests = {
  async "it draws everything, from one file, with no error"() {
    const mock = await start();
    const { page, errors, asked, close } = await open(`http://127.0.0.1:${mock.port}/`);
    await live(page);
    assert.match(await text(page, "#badge"), /synced/);
    assert.match(await text(page, "#reason"), /a majority of the sources agrees/);
    for (const fact of ["Bound", "95 % interval", "Narrow bound", "System clock", "Raw clock", "Temperature"]) {
      assert.match(await text(page, "#facts"), new RegExp(fact));
    }
    for (const chart of ["#chart-offset", "#chart-error", "#chart-rate"]) assert.ok((await colours(page, chart)) > 5, chart);
    assert.equal(await page.locator("#intervals li:not(.axis)").count(), 6);
    assert.equal(await page.locator("#intervals .region").count(), 6);
    assert.match(await text(page, "#sources"), /liar.example.org.*falseticker/s);
    assert.match(await text(page, "#sources"), /not resolved: lost.example/);
    assert.match(await text(page, "#models"), /share 0.62 · skill \+0.310/);
    assert.match(await text(page, "#gauges"), /99.27 %.*409 of 412/s);
    assert.match(await text(page, "#gauges"), /95.6\d? %.*459 of 480 later/s);
    assert.match(await text(page, "#levels"), /50 %.*±.*99 %.*±/s);
    assert.match(await text(page, "#events"), /liar.example.org is falseticker/);
    assert.ok(await page.locator("#simulation").isHidden());
    const origin = `http://127.0.0.1:${mock.port}/`;
    assert.deepEqual(asked.filter((url) => !url.startsWith(origin) && !url.startsWith("data:")), []);
    await shot(page, "light");
    assert.deepEqual(errors, []);
    await close();
    await mock.stop();
  },

  async "it goes on by itself"() {
    const mock = await start({ age: 30 });
    const { page, errors, close } = await open(`http://127.0.0.1:${mock.port}/`);
    await live(page);
    const before = await text(page, "#clock");
    await page.waitForFunction((before) => document.querySelector("#clock").textContent !== before, before);
    await page.locator("#chart-error summary").click();
    const first = await text(page, "#chart-error tbody th");
    await page.waitForFunction((first) => document.querySelector("#chart-error tbody th").textContent !== first, first);
    assert.deepEqual(errors, []);
    await close();
    await mock.stop();
  },

  async "it says that the server is gone, claims nothing meanwhile, and comes back"() {
    const mock = await start();
    const { page, close } = await open(`http://127.0.0.1:${mock.port}/`);
    await live(page);
    await mock.stop();
    await becomes(page, "#notice", /daemon.*Trying again .*old/);
    assert.match(await text(page, "#badge"), /unknown/);
    assert.ok(await page.locator("body.old").count());
    const frozen = await text(page, "#clock");
    await page.waitForTimeout(1500);
    assert.equal(await text(page, "#clock"), frozen);
    assert.match(await text(page, "#badge"), /unknown/);
    await shot(page, "gone");
    const again = await start({ port: mock.port });
    await live(page);
    await becomes(page, "#badge", /synced/);
    assert.ok(await page.locator("#notice").isHidden());
    await close();
    await again.stop();
  },

  async "foreign text is text, and a simulation is labelled"() {
    const mock = await start({ hostile: true, simulation: true });
    const { page, errors, close } = await open(`http://127.0.0.1:${mock.port}/`, { width: 360, height: 740 });
    await live(page);
    await becomes(page, "#sources", /evil/);
    assert.equal(await page.locator("img").count(), 0);
    const all = await page.evaluate(() => document.body.textContent);
    assert.ok(!/[\u0000-\u0008\u001b\u202e]/.test(all));
    assert.match(all, /evil\\u\{1b\}\[2J<img src=x onerror=alert\(1\)>\\u\{202e\}gnp/);
    assert.ok(await page.locator("#simulation").isVisible());
    await page.mouse.wheel(0, 3000);
    assert.ok(await page.evaluate(() => document.querySelector("#simulation").getBoundingClientRect().top >= 0));
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 360);
    assert.deepEqual(errors, []);
    await close();
    await mock.stop();
  },

  async "it works by keyboard"() {
    const mock = await start();
    const { page, errors, close } = await open(`http://127.0.0.1:${mock.port}/`);
    await live(page);
    const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.className || document.activeElement.textContent);
    await page.keyboard.press("Tab");
    assert.equal(await focused(), "skip");
    await page.keyboard.press("Enter");
    assert.equal(await focused(), "now");
    await page.keyboard.press("Tab");
    assert.equal(await focused(), "5 min");
    await page.keyboard.press("Enter");
    assert.equal(await page.locator("#windows button").first().getAttribute("aria-pressed"), "true");
    await page.locator("#chart-offset .canvas").focus();
    await page.keyboard.press("End");
    await page.keyboard.press("ArrowLeft");
    await becomes(page, "#chart-offset .readout", /\d\d:\d\d:\d\d: bound, upper edge \+\d+.*estimate \+37/);
    await page.locator("#theme").focus();
    await page.keyboard.press("Enter");
    assert.equal(await page.locator("html").getAttribute("data-theme"), "light");
    await page.keyboard.press("Enter");
    assert.equal(await page.locator("html").getAttribute("data-theme"), "dark");
    await page.reload();
    assert.equal(await page.locator("html").getAttribute("data-theme"), "dark");
    assert.deepEqual(errors, []);
    await close();
    await mock.stop();
  },

  async "dark, light and a phone are served alike, and axe finds nothing"() {
    const mock = await start();
    const grounds = new Set();
    for (const [colorScheme, width] of [["light", 1280], ["dark", 1280], ["light", 360], ["dark", 360], ["light", 768]]) {
      const { page, close } = await open(`http://127.0.0.1:${mock.port}/`, { colorScheme, width, height: 740, bypassCSP: true });
      await live(page);
      grounds.add(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= width, `wider than ${width}`);
      await page.evaluate(AXE);
      const { violations } = await page.evaluate(() => axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] }));
      const said = violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 120)).join(" | ")}`);
      await shot(page, `${colorScheme}-${width}`);
      assert.deepEqual(said, [], `${colorScheme} ${width}`);
      await close();
    }
    assert.equal(grounds.size, 2);
    await mock.stop();
  },

  async "a server with a token is asked with it"() {
    const mock = await start({ token: "0123456789abcdef" });
    const { page, close } = await open(`http://127.0.0.1:${mock.port}/`);
    await page.locator("#secret").fill("0123456789abcdef");
    await page.keyboard.press("Enter");
    await live(page);
    assert.ok(await page.locator("#token").isHidden());
    await close();
    await mock.stop();
  },

  async "the program serves it, and it survives the program's restart"() {
    const { CHRONOTICK, NTP } = process.env;
    if (!CHRONOTICK || !NTP) return "skipped: CHRONOTICK (the program) and NTP (a server's address) are not set";
    const folder = mkdtempSync(join(tmpdir(), "chronotick-page-"));
    const port = await new Promise((resolve) => {
      const probe = createServer().listen(0, "127.0.0.1", () => {
        const { port } = probe.address();
        probe.close(() => resolve(port));
      });
    });
    const run = () =>
      spawn(CHRONOTICK, ["run", "--preset", "minimal"], {
        env: {
          CHRONOTICK_RUNTIME_DIR: join(folder, "run"), CHRONOTICK_STATE_DIR: join(folder, "state"), XDG_CONFIG_HOME: folder,
          CHRONOTICK_NTP_SERVERS: NTP, CHRONOTICK_HTTP_LISTEN: `127.0.0.1:${port}`,
        },
        stdio: "ignore",
      });
    const gone = (daemon) => new Promise((resolve) => (daemon.exitCode !== null || daemon.signalCode ? resolve() : daemon.once("exit", resolve)));
    const url = `http://127.0.0.1:${port}/`;
    let daemon = run();
    try {
      const served = async () => (await fetch(`${url}v1/status`).then((r) => (r.ok ? fetch(url) : null)).catch(() => null)) ?? (await new Promise((r) => setTimeout(r, 200)), served());
      const response = await served();
      const policy = response.headers.get("content-security-policy");
      assert.match(policy, /default-src 'none'; script-src 'sha256-/);
      assert.ok(!policy.includes("unsafe"));
      const { page, errors, close } = await open(url);
      await becomes(page, "#badge", /^synced$/);
      await becomes(page, "#facts", /System clock.*(ahead|behind)/);
      await becomes(page, "#sources", /trusted/);
      await becomes(page, "#daemon", new RegExp(`process ${daemon.pid}`));
      assert.ok((await colours(page, "#chart-offset")) > 5);
      assert.deepEqual(errors, []);
      await shot(page, "daemon");
      daemon.kill("SIGKILL");
      await gone(daemon);
      await becomes(page, "#notice", /daemon.*Trying again .*old/);
      daemon = run();
      await live(page);
      await becomes(page, "#daemon", new RegExp(`process ${daemon.pid}`));
      await becomes(page, "#badge", /^synced$/);
      assert.ok(await page.locator("#notice").isHidden());
      await close();
    } finally {
      daemon.kill("SIGKILL");
      await gone(daemon);
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

let failed = 0;
const wanted = process.argv[2] ?? "";
for (const [name, test] of Object.entries(tests)) {
  if (!name.includes(wanted)) continue;
  try {
    console.log(`${(await test()) ?? "ok"}: ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED: ${name}\n${error.stack}`);
  }
}
await browser.close();
process.exit(failed ? 1 : 0);
