// The page: follows the server's events, asks for the rest, and says so when the server does not answer.
import * as api from "./api";
import { charts } from "./charts";
import { h, say, the } from "./dom";
import { since } from "./format";
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
let lost = false;
let locked = false;

function draw(): void {
  const moments = past.recent(window_);
  for (const plot of plots) plot.draw(moments);
}

async function refresh(): Promise<void> {
  const asked = performance.now();
  const time = await api.ask<api.Time>("v1/time");
  const at = (asked + performance.now()) / 2;
  clock = time.estimate_ns ? { utc: Number(BigInt(time.estimate_ns) / 1000n) / 1e3, at } : null;
  if (asked >= nextStatus) {
    nextStatus = asked + STATUS_EVERY;
    // Before the first report there is none.
    status = await api.ask<api.Status>("v1/status").catch((e) => {
      if (e instanceof api.Locked) throw e;
      return null;
    });
    if (status) account(status);
  }
  sections.now(time, status);
  tick();
}

function account(status: api.Status): void {
  sections.sources(status);
  sections.models(status);
  sections.gauges(status);
  sections.events(status.events);
  sections.daemon(status);
  const old = status.snapshot_age_seconds;
  notice(old > 5 ? `The daemon measures no more: what follows is ${since(old)} old.` : "");
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
  lost = false;
  locked = false;
  the("token").hidden = true;
  document.body.classList.remove("old");
  the("link").dataset["link"] = "live";
  say(the("link"), "live");
  if (the("notice").dataset["of"] === "link") notice("");
}

/** The server does not answer: what stands on the page is old, and nothing of it is claimed any more. */
function silent(): void {
  lost = true;
  document.body.classList.add("old");
  the("link").dataset["link"] = "lost";
  say(the("link"), "reconnecting …");
  the("badge").dataset["state"] = "unknown";
  say(the("badge"), "unknown");
  say(the("reason"), "the daemon does not answer");
  const age = heardAt === null ? "" : ` for ${since((performance.now() - heardAt) / 1e3)}; what follows is as old`;
  notice(`The daemon does not answer${age}. Trying again …`, "link");
}

function notice(text: string, of = "daemon"): void {
  const element = the("notice");
  element.hidden = !text;
  element.dataset["of"] = of;
  say(element, text);
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
      if (history.points.length) {
        past.moments = past.moments.filter((m) => m.t > Number(BigInt(history.points.at(-1)!.time_ns) / 1_000_000_000n));
        const newer = past.moments;
        past.moments = [];
        for (const point of history.points) past.add(point);
        past.moments.push(...newer);
      }
      nextStatus = 0;
      await refresh();
      draw();
      await api.follow("v1/events", PATIENCE, told);
    } catch (e) {
      locked = e instanceof api.Locked;
      the("token").hidden = !locked;
    }
    if (!locked) silent();
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
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
setInterval(() => lost && silent(), 1000);
void run();
