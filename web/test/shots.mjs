// Pictures of the page for people to look at: `node test/shots.mjs FOLDER`.
import { chromium } from "playwright-core";
import { start } from "./mock.mjs";
import { LAUNCH } from "./launch.mjs";

const folder = process.argv[2] ?? "shots";
const mock = await start({ simulation: process.argv.includes("--simulation") });
const browser = await chromium.launch(LAUNCH);
for (const [name, width, height, colorScheme] of [
  ["light", 1280, 900, "light"],
  ["dark", 1280, 900, "dark"],
  ["phone", 360, 740, "light"],
  ["phone-dark", 360, 740, "dark"],
]) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme, deviceScaleFactor: 1 });
  const page = await context.newPage();
  page.on("console", (message) => console.log(name, message.type(), message.text()));
  page.on("pageerror", (error) => console.log(name, error.stack));
  await page.goto(`http://127.0.0.1:${mock.port}/`);
  await page.waitForTimeout(3500);
  await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
  await context.close();
}
await browser.close();
await mock.stop();
