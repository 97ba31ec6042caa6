// The page: follows the server's events, asks for the rest, and says so when the server does not answer.
import * as api from "./api";
import { charts } from "./charts";
import { h, say, the } from "./dom";
import { since, span } from "./format";
import { Past } from "./past";
import * as sections from "./sections";
import * as theme from "./theme";

/** The stream brings a point a second: without one for so long the server is gone. */
const PATIENCE = 6_000;
/** From one full account of the server to the next. */
const STATUS_EVERY = 2_000;
const WINDOWS: [string, number][] = [["5 min", 300], ["15 min", 900], ["1 hour", 3600]];

const past = new Past();
const plots = charts(the);
let status: api.Status | null = null;
let nextStatus = 0;
let window_ = 900;
/** Corrected time when `performance.now()` was `at`. */
let clock: { utc: number; at: number } | null = null;
let heardAt: number | null = null;
/** Why nothing is heard. */
let lost: string | null = null;

function draw(): void {
  const moments = past.recent(window_);
  for (const plot of plots) plot.draw(moments);
}

async function refresh(): Promise<void> {
  const asked = performance.now();
  const time = await api.ask<api.Time>("v1/time");
  heard();
  const at = (asked + performance.now()) / 2;
  clock = time.estimate_ns ? { utc: Number(BigInt(time.estimate_ns) / 1000n) / 1e3, at } : null;
  if (asked >= nextStatus) {
    nextStatus = asked + STATUS_EVERY;
    // Before the first report there is none.
    status = await api.ask<api.Status>("v1/status").catch((e) => {
      if (e instanceof api.Refused) return null;
      throw e;
    });
    if (status && !lost) account(status);
  }
  // It may have gone since it told the time.
  if (lost) return;
  sections.now(time, status);
  const wrong = time.max_error_ns === null ? "" : ` ±${span(time.max_error_ns)}`;
  document.title = `${time.simulation ? "simulation, " : ""}${time.state}${wrong} · ChronoTick`;
  tick();
}

function account(status: api.Status): void {
  sections.sources(status);
  sections.models(status);
  sections.gauges(status);
  sections.events(status.events);
  sections.daemon(status);
  const old = status.snapshot_age_seconds;
  notice(old > 5 ? "The daemon measures no more." : "", `What follows is ${since(old)} old.`);
}

function told(event: string, data: string): void {
  if (event === "status") {
    heard();
    past.add(JSON.parse(data) as api.Point);
    draw();
    refresh().catch(() => {});
  } else if (event === "happened") {
    sections.events([JSON.parse(data) as api.Happening]);
    nextStatus = 0;
  }
}

function heard(): void {
  heardAt = performance.now();
  lost = null;
  the("token").hidden = true;
  document.body.classList.remove("old");
  the("link").dataset["link"] = "live";
  say(the("link"), "live");
  if (the("notice").dataset["of"] === "link") notice("");
}

/** The server does not answer: what stands on the page is old, and nothing of it is claimed any more. */
function silent(why: string): void {
  lost = why;
  document.body.classList.add("old");
  the("link").dataset["link"] = "lost";
  say(the("link"), "reconnecting …");
  the("badge").dataset["state"] = "unknown";
  say(the("badge"), "unknown");
  say(the("reason"), why);
  document.title = "no answer · ChronoTick";
  const age = heardAt === null ? "" : `What follows is ${since((performance.now() - heardAt) / 1e3)} old.`;
  notice(`${why[0]!.toUpperCase()}${why.slice(1)}. Trying again …`, age, "link");
}

/** Tells a trouble, once, and how old the page is, which is not announced anew each second. */
function notice(trouble: string, age = "", of = "daemon"): void {
  const element = the("notice");
  element.hidden = !trouble;
  element.dataset["of"] = of;
  say(the("trouble"), trouble);
  say(the("age"), age);
}

function tick(): void {
  if (!clock || lost) return;
  const now = new Date(clock.utc + performance.now() - clock.at);
  const text = Number.isNaN(now.getTime()) ? "–" : now.toISOString();
  say(the("date"), text.slice(0, 10));
  say(the("clock"), text.slice(11, 21));
}

async function run(): Promise<never> {
  for (;;) {
    try {
      const history = await api.ask<{ points: api.Point[] }>("v1/history");
      past.recall(history.points);
      nextStatus = 0;
      await refresh();
      draw();
      await api.follow("v1/events", PATIENCE, told);
      silent("the daemon has ended the connection");
    } catch (e) {
      if (e instanceof api.Locked) await unlocked();
      else silent(e instanceof api.Refused ? e.message : "the daemon does not answer");
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

/** Until the person has given a token. */
async function unlocked(): Promise<void> {
  const form = the("token");
  form.hidden = false;
  the("link").dataset["link"] = "lost";
  say(the("link"), "locked");
  await new Promise((resolve) => form.addEventListener("submit", resolve, { once: true }));
}

for (const [name, seconds] of WINDOWS) {
  const button = h("button", { type: "button", "aria-pressed": String(seconds === window_) }, name);
  button.addEventListener("click", () => {
    window_ = seconds;
    for (const other of the("windows").children) other.setAttribute("aria-pressed", String(other === button));
    draw();
  });
  the("windows").append(button);
}
the("token").addEventListener("submit", (event) => {
  event.preventDefault();
  api.unlock((the("secret") as HTMLInputElement).value.trim());
});
theme.start(() => plots.forEach((plot) => plot.recolour()));
setInterval(tick, 100);
setInterval(() => lost && silent(lost), 1000);
void run();
