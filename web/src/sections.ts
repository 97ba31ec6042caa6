// The sections of the page, each made anew from what was heard.
import type { Happening, Model, Source, Status, Time } from "./api";
import { h, place, s, say, the } from "./dom";
import { clean, minus, percent, round, signed, since, span } from "./format";

const ns = (text: string) => BigInt(text);
const apart = (a: string, b: string) => Number(ns(a) - ns(b));

/** A track from −reach to +reach with corrected time in its middle. */
class Track {
  readonly element: HTMLElement;

  constructor(private readonly reach: number, label: string) {
    this.element = h("div", { class: "track", role: "img", "aria-label": label }, h("span", { class: "zero" }));
  }

  private at(value: number): number {
    return Math.min(1, Math.max(0, (value / this.reach + 1) / 2));
  }

  /** Fills from `low` to `high`; where that is outside, an arrow at the edge points to it. */
  fill(kind: string, low: number, high: number): this {
    if (low > this.reach || high < -this.reach) {
      this.element.append(h("span", { class: `away ${low > 0 ? "late" : "early"}` }, low > 0 ? "▶" : "◀"));
      return this;
    }
    this.element.append(place(h("span", { class: kind }), this.at(low), this.at(high)));
    return this;
  }

  mark(kind: string, value: number): this {
    if (Math.abs(value) <= this.reach) {
      const mark = h("span", { class: kind });
      mark.style.left = `${this.at(value) * 100}%`;
      this.element.append(mark);
    }
    return this;
  }
}

function scale(reach: number): HTMLElement {
  return h("div", { class: "scale", "aria-hidden": "true" }, h("span", {}, minus(`-${round(reach)}`)), h("span", {}, "corrected time"), h("span", {}, `+${round(reach)}`));
}

/** A round length that is not less. */
function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= value) ?? value;
}

/** State, bound and interval. */
export function now(time: Time, status: Status | null): void {
  the("badge").dataset["state"] = time.state;
  say(the("badge"), time.state);
  say(the("reason"), time.reason);
  the("simulation").hidden = !(time.simulation ?? status?.simulation);
  const facts: [string, string][] = [];
  const bar = the("bar");
  if (time.estimate_ns && time.earliest_ns && time.latest_ns && time.intervals_ns) {
    const [early, late] = [apart(time.earliest_ns, time.estimate_ns), apart(time.latest_ns, time.estimate_ns)];
    const interval = time.intervals_ns["95"];
    const reach = roundUp(Math.max(-early, late, interval) * 1.05);
    const words = `True time is between ${signed(early)} and ${signed(late)} of the estimate, within ±${span(interval)} in 95 of 100 readings.`;
    const track = new Track(reach, words).fill("bound", early, late);
    facts.push(["Bound", `${signed(early)} … ${signed(late)}`]);
    facts.push(["95 % interval", `±${span(interval)}`]);
    if (time.narrow) {
      const [from, to] = [apart(time.narrow.earliest_ns, time.estimate_ns), apart(time.narrow.latest_ns, time.estimate_ns)];
      track.fill("narrow", from, to);
      facts.push(["Narrow bound ¹", `${signed(from)} … ${signed(to)}`]);
    }
    say(the("assumes"), time.narrow ? `¹ holds if ${clean(time.narrow.assumes)}.` : "");
    track.fill("interval", -interval, interval);
    bar.replaceChildren(track.element, scale(reach));
  } else {
    bar.replaceChildren();
    say(the("assumes"), "");
  }
  levels(time.intervals_ns);
  if (time.system_offset_ns !== null) {
    const offset = time.system_offset_ns;
    facts.push(["System clock", `${span(Math.abs(offset))} ${offset < 0 ? "ahead" : "behind"}`]);
  }
  if (status?.clock) {
    const { rate_ppm: rate, rate_sigma_ppm: sigma, leap, bound_growth_ppm: growth } = status.clock;
    facts.push(["Raw clock", `${Math.abs(rate).toFixed(3)} ppm ${rate < 0 ? "fast" : "slow"} ± ${sigma.toFixed(3)}`]);
    facts.push(["Bound grows", `${growth.toFixed(1)} ppm if unmeasured`]);
    if (leap !== "none") facts.push(["Leap second", `${clean(leap)} announced`]);
  }
  if (typeof status?.temperature_celsius === "number") facts.push(["Temperature", `${status.temperature_celsius.toFixed(1)} °C`]);
  the("facts").replaceChildren(...facts.map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, text))));
}

/** The calibrated interval by the share of readings that contain true time. */
function levels(intervals: Time["intervals_ns"]): void {
  const shares = ["50", "90", "95", "99"] as const;
  const row = (share: (typeof shares)[number]) => {
    const half = intervals?.[share] ?? 0;
    const bar = h("div", { class: "share" }, place(h("span"), 0, half / Math.max(1, intervals?.["99"] ?? 1)));
    return h("tr", {}, h("th", { scope: "row" }, `${share} %`), h("td", { class: "fill" }, bar), h("td", {}, intervals ? `±${span(half)}` : "–"));
  };
  the("levels").replaceChildren(h("tbody", {}, ...shares.map(row)));
}

const MARKS: Record<string, string> = { trusted: "✓", falseticker: "✕", "no majority": "≠", unmeasured: "…", unselected: "∅" };

function verdict(source: Source): HTMLElement {
  const word = clean(source.verdict);
  return h("span", { class: "verdict", "data-verdict": word }, `${MARKS[source.verdict] ?? "?"} ${word}`);
}

function name(source: Source): HTMLElement {
  const [server, address] = [clean(source.server), clean(source.address)];
  const shown = address.startsWith(server) ? address : server;
  const kind = { refclock: " · reference clock", peer: " · peer" }[source.mode ?? ""] ?? "";
  return h("bdi", { title: address }, shown, kind && h("span", { class: "count" }, kind));
}

/** The interval of each source, and the region in which enough of them agree. */
export function sources(status: Status): void {
  const list = status.sources;
  const trusted = list.filter((source) => source.verdict === "trusted");
  say(the("sources-count"), `${trusted.length} of ${list.length} trusted`);
  const edges = (trusted.length ? trusted : list).flatMap(({ bound }) => (bound ? [-bound.earliest_ns, bound.latest_ns] : []));
  const served = status.clock;
  const reach = roundUp(Math.max(1, ...edges, served?.early_ns ?? 0, served?.late_ns ?? 0) * 1.05);
  const row = (source: Source) => {
    const { bound } = source;
    const words = bound ? `allows ${signed(bound.earliest_ns)} to ${signed(bound.latest_ns)}` : "has no interval yet";
    const track = new Track(reach, `${clean(source.server)}, ${clean(source.verdict)}, ${words}`);
    if (served) track.fill("region", -served.early_ns, served.late_ns);
    if (bound) track.fill(source.verdict === "trusted" ? "own" : "own doubted", bound.earliest_ns, bound.latest_ns);
    if (source.offset_ns !== null) track.mark("answer", source.offset_ns);
    return h("li", {}, h("div", { class: "who" }, name(source), verdict(source)), track.element);
  };
  the("intervals").replaceChildren(...list.map(row), ...(list.length ? [h("li", { class: "axis", "aria-hidden": "true" }, h("div", { class: "who" }), scale(reach))] : []));
  numbers(status);
}

const COLUMNS: [string, (source: Source) => Node | string][] = [
  ["Source", name],
  ["Verdict", verdict],
  ["Offset", (s) => (s.offset_ns === null ? "–" : signed(s.offset_ns))],
  ["Delay", (s) => (s.delay_ns === null ? "–" : span(s.delay_ns))],
  ["Interval", (s) => (s.bound ? `${signed(s.bound.earliest_ns)} … ${signed(s.bound.latest_ns)}` : "–")],
  ["Reach", (s) => s.reach.toString(8)],
  ["Poll", (s) => since(s.poll_seconds)],
  ["Stratum", (s) => (s.stratum === null ? "–" : String(s.stratum))],
  ["Last answer", (s) => (s.last_answer_seconds === null ? "never" : `${since(s.last_answer_seconds)} ago`)],
  ["Stamps", (s) => clean(s.stamps ?? "–")],
];

function numbers(status: Status): void {
  const heading = h("tr", {}, ...COLUMNS.map(([title]) => h("th", { scope: "col" }, title)));
  const rows = status.sources.flatMap((source) => {
    const cells = COLUMNS.map(([title, of], i) => h(i ? "td" : "th", { "data-title": title, ...(i ? {} : { scope: "row" }) }, of(source)));
    const trouble = source.trouble ? [h("tr", { class: "trouble" }, h("td", { colspan: String(COLUMNS.length) }, `↳ last trouble: ${clean(source.trouble)}`))] : [];
    return [h("tr", {}, ...cells), ...trouble];
  });
  const lost = status.unresolved.map((text) => h("tr", { class: "trouble" }, h("td", { colspan: String(COLUMNS.length) }, `not resolved: ${clean(text)}`)));
  the("sources").replaceChildren(h("thead", {}, heading), h("tbody", {}, ...rows, ...lost));
}

const MEMBERS: Record<string, string> = { short_term: "For seconds", long_term: "For minutes", environment: "From the machine's conditions" };

/** Who forecasts beside the filter bank. */
export function models(status: Status): void {
  say(the("made-of"), `Corrected time is made of: ${clean(status.source)}. A model's share is what later measurements proved it to be worth.`);
  the("models").replaceChildren(...status.models.map(model));
}

function model(model: Model): HTMLElement {
  const title = MEMBERS[model.member] ?? clean(model.member);
  const horizons = [...model.horizons].sort((a, b) => a.horizon_seconds - b.horizon_seconds);
  const telling = [...horizons].sort((a, b) => b.weight - a.weight)[0];
  const share = h("div", { class: "share", role: "meter", "aria-valuemin": "0", "aria-valuemax": "1", "aria-valuenow": model.weight.toFixed(2), "aria-label": `Share of ${title}` });
  share.append(place(h("span"), 0, Math.min(1, Math.max(0, model.weight))));
  const off = model.state === "off";
  const facts = [
    `share ${model.weight.toFixed(2)}`,
    telling && `skill ${telling.skill < 0 ? "" : "+"}${minus(telling.skill.toFixed(3))} at ${since(telling.horizon_seconds)}`,
    model.correction_ns !== 0 && `corrects by ${signed(model.correction_ns)}`,
    model.last_inference_seconds !== null && `last forecast ${since(model.last_inference_seconds)} ago`,
    model.inference_ms !== null && `in ${model.inference_ms.toFixed(1)} ms`,
  ].filter(Boolean);
  const details = horizons.length
    ? h(
        "details",
        { "data-key": model.member },
        h("summary", {}, "By horizon"),
        h(
          "table",
          {},
          h("thead", {}, h("tr", {}, ...["Ahead", "Share", "Skill", "RMS error", "Stretches"].map((text) => h("th", { scope: "col" }, text)))),
          h("tbody", {}, ...horizons.map((x) => h("tr", {}, h("th", { scope: "row" }, since(x.horizon_seconds)), h("td", {}, x.weight.toFixed(2)), h("td", {}, minus(x.skill.toFixed(3))), h("td", {}, span(x.error_ns)), h("td", {}, String(x.stretches))))),
        ),
      )
    : null;
  if (details) details.open = !!document.querySelector<HTMLDetailsElement>(`details[data-key="${CSS.escape(model.member)}"]`)?.open;
  return h(
    "article",
    { class: "model", "data-state": clean(model.state) },
    h("h3", {}, title, " ", h("span", { class: "count" }, clean([model.model, model.family && model.family !== model.model ? `(${model.family})` : ""].filter(Boolean).join(" ")))),
    !off && share,
    !off && h("p", {}, facts.join(" · ")),
    h("p", { class: "small" }, off ? "off" : `${clean(model.state)}: ${clean(model.reason ?? model.standing)}`),
    details,
  );
}

/** Shares that say how far to trust the rest. */
export function gauges(status: Status): void {
  const { compared, worse, polls, answers } = status.traffic;
  const { counted, covered_95 } = status.predictions;
  const trusted = status.sources.filter((source) => source.verdict === "trusted").length;
  const total = status.sources.length;
  const items: [string, number | null, string][] = [
    ["No harm", compared ? 1 - worse / compared : null, compared ? `corrected time was nearer than the system clock in ${compared - worse} of ${compared} telling measurements` : "no measurement could tell corrected time and the system clock apart yet"],
    ["Coverage", counted ? covered_95 / counted : null, counted ? `${covered_95} of ${counted} later measurements were inside the 95 % interval claimed before they came` : "no measurement could be foretold yet"],
    ["Trusted", total ? trusted / total : null, `${trusted} of ${total} sources; a strict majority is needed`],
    ["Answered", polls ? answers / polls : null, `${answers} of ${polls} polls; ${clean(status.traffic.stamps)} time stamps`],
    ["Warm-up", status.warmup_progress, status.warmup_progress < 1 ? "still learning this clock" : "over"],
  ];
  the("gauges").replaceChildren(...items.map(([title, share, text]) => gauge(title, share, text)));
}

function gauge(title: string, share: number | null, text: string): HTMLElement {
  const length = Math.PI * 40;
  const arc = (kind: string, part: number) => s("path", { class: kind, d: "M10 50 A40 40 0 0 1 90 50", "stroke-dasharray": `${part * length} ${length}`, fill: "none" });
  const drawing = s("svg", { viewBox: "0 0 100 56", "aria-hidden": "true" }, arc("whole", 1), ...(share ? [arc("part", share)] : []));
  const value = share === null ? "–" : percent(share);
  return h("div", { class: "gauge" }, drawing, h("p", { class: "value" }, value), h("h3", {}, title), h("p", { class: "small" }, text));
}

const EVENTS = 100;
const heard = new Map<string, Happening>();

/** Everything that was heard to happen, newest first. */
export function events(happenings: Happening[]): void {
  for (const event of happenings) heard.set(`${event.time} ${event.kind} ${event.text}`, event);
  const newest = [...heard].sort(([, a], [, b]) => (a.time < b.time ? 1 : a.time > b.time ? -1 : 0)).slice(0, EVENTS);
  heard.clear();
  for (const [key, event] of newest) heard.set(key, event);
  const line = (event: Happening) => h("li", {}, h("time", {}, clean(event.time).replace("T", " ").replace(/\.\d+Z$/, "")), h("span", { class: "kind", "data-kind": clean(event.kind) }, clean(event.kind).replace("_", " ")), h("bdi", {}, clean(event.text)));
  the("events").replaceChildren(...newest.map(([, event]) => line(event)));
}

/** The program itself. */
export function daemon(status: Status): void {
  const memory = status.memory_bytes ? ` · ${(status.memory_bytes / 1048576).toFixed(0)} MiB` : "";
  say(the("daemon"), `ChronoTick ${clean(status.version)} · process ${status.pid} · up ${since(status.uptime_seconds)}${memory}`);
}
