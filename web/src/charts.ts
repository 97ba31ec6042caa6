// The charts over time: what the system clock lacks with its bound and interval, how wide both are, and the drift.
import uPlot from "uplot";
import { h, say } from "./dom";
import { minus, round, signed, span, unit } from "./format";
import type { Moment } from "./past";

const ink = (name: string) => () => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Of the divisions of an axis those at powers of ten. */
const powers = (_: uPlot, splits: number[]) => splits.map((v) => (Math.abs(Math.log10(v) - Math.round(Math.log10(v))) < 1e-9 ? v : null)) as number[];

/** What a chart is made of. */
interface Plan {
  id: string;
  title: string;
  /** What the lines are, in the order in which they are listed. */
  lines: { name: string; colour: string; of: (moment: Moment) => number | null; width?: number; dash?: number[]; axis?: string }[];
  /** Pairs of lines between which is filled, upper first. */
  bands?: { lines: [number, number]; colour: string }[];
  /** Logarithmic. */
  widths?: boolean;
  text: (value: number) => string;
  ticks: (values: number[]) => string[];
  /** Ways to choose the scale, by the lines that have to fit. */
  zooms?: { name: string; lines: number[] }[];
}

const add = (a: number | null, b: number | null, sign = 1) => (a === null || b === null ? null : a + sign * b);

/** Labels of an axis in one unit, with as many digits as tell them apart. */
function spans(values: number[]): string[] {
  const [scale, name] = unit(Math.max(...values.map(Math.abs)));
  const step = values.length > 1 ? Math.abs(values[1]! - values[0]!) / scale : 1;
  const digits = Math.min(6, Math.max(0, Math.ceil(-Math.log10(step || 1) - 1e-9)));
  return values.map((value) => `${minus((value / scale).toFixed(digits))} ${name}`);
}

const PLANS: Plan[] = [
  {
    id: "chart-offset",
    title: "System clock: true − system",
    lines: [
      { name: "bound, upper edge", colour: "bound", of: (m) => add(m.offset, m.late), width: 1 },
      { name: "bound, lower edge", colour: "bound", of: (m) => add(m.offset, m.early, -1), width: 1 },
      { name: "95 %, upper edge", colour: "interval", of: (m) => add(m.offset, m.interval), width: 0 },
      { name: "95 %, lower edge", colour: "interval", of: (m) => add(m.offset, m.interval, -1), width: 0 },
      { name: "estimate", colour: "ink", of: (m) => m.offset, width: 1.5 },
    ],
    bands: [
      { lines: [0, 1], colour: "bound-fill" },
      { lines: [2, 3], colour: "interval-fill" },
    ],
    text: signed,
    ticks: spans,
    zooms: [
      { name: "bound", lines: [0, 1] },
      { name: "interval", lines: [2, 3] },
    ],
  },
  {
    id: "chart-error",
    title: "How wrong it may be",
    lines: [
      { name: "bound", colour: "bound", of: (m) => (m.early === null || m.late === null ? null : Math.max(m.early, m.late)), width: 1.5 },
      { name: "95 % interval", colour: "interval", of: (m) => m.interval, width: 1.5 },
    ],
    widths: true,
    text: (value) => `±${span(value)}`,
    ticks: (values) => values.map(round),
  },
  {
    id: "chart-rate",
    title: "Drift: how much faster true time runs than the raw clock",
    lines: [
      { name: "upper edge (σ)", colour: "rate", of: (m) => add(m.rate, m.rateSigma), width: 0 },
      { name: "lower edge (σ)", colour: "rate", of: (m) => add(m.rate, m.rateSigma, -1), width: 0 },
      { name: "frequency", colour: "rate", of: (m) => m.rate, width: 1.5 },
      { name: "temperature", colour: "warm", of: (m) => m.temperature, width: 1.5, dash: [4, 3], axis: "°C" },
    ],
    bands: [{ lines: [0, 1], colour: "rate-fill" }],
    text: (value) => `${value < 0 ? "" : "+"}${minus(value.toFixed(4))} ppm`,
    ticks: (values) => {
      const step = values.length > 1 ? Math.abs(values[1]! - values[0]!) : 1;
      const digits = Math.min(6, Math.max(0, Math.ceil(-Math.log10(step || 1) - 1e-9)));
      return values.map((value) => `${minus(value.toFixed(digits))} ppm`);
    },
  },
];

const LEGEND: Record<string, [string, string][]> = {
  "chart-offset": [["ink", "estimate"], ["interval", "95 % interval"], ["bound", "bound"]],
  "chart-error": [["bound", "bound"], ["interval", "95 % interval"]],
  "chart-rate": [["rate", "frequency ± σ"]],
};

export class Chart {
  private readonly plot: uPlot;
  private readonly readout = h("p", { class: "readout" });
  private readonly table = h("table");
  private readonly details = h("details", {}, h("summary", {}, "As a table"), h("div", { class: "wide", tabindex: "0", role: "region" }, this.table));
  private readonly canvas: HTMLElement;
  private moments: Moment[] = [];
  private zoom = 0;
  /** Whether a temperature is known. */
  private warm = false;

  constructor(private readonly plan: Plan, private readonly figure: HTMLElement) {
    this.canvas = h("div", { class: "canvas", tabindex: "0", role: "img" });
    const legend = h("ul", { class: "legend", "aria-hidden": "true" }, ...LEGEND[plan.id]!.map(([colour, name]) => h("li", { "data-colour": colour }, name)));
    const zooms = h("div", { class: "group", role: "group", "aria-label": "Scale" });
    plan.zooms?.forEach(({ name }, index) => {
      const button = h("button", { type: "button", "aria-pressed": String(index === 0) }, `fit ${name}`);
      button.addEventListener("click", () => {
        this.zoom = index;
        for (const other of zooms.children) other.setAttribute("aria-pressed", String(other === button));
        this.draw(this.moments);
      });
      zooms.append(button);
    });
    figure.append(h("figcaption", {}, h("span", {}, plan.title), plan.zooms ? zooms : null), legend, this.canvas, this.readout, this.details);
    this.details.querySelector("div")!.setAttribute("aria-label", plan.title);
    this.details.addEventListener("toggle", () => this.tabulate());
    this.plot = new uPlot(this.options(), [[]], this.canvas);
    new ResizeObserver(() => this.resize()).observe(this.canvas);
    this.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  private options(): uPlot.Options {
    const { lines, bands, widths, ticks } = this.plan;
    const axis = { stroke: ink("faint"), grid: { stroke: ink("line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const warm = lines.some((line) => line.axis);
    return {
      ...this.size(),
      padding: [8, 20, 0, 0],
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { size: 7 }, y: false },
      tzDate: (t) => uPlot.tzDate(new Date(t * 1e3), "Etc/UTC"),
      hooks: { setCursor: [(u) => this.read(u.cursor.idx ?? null)] },
      scales: {
        // A minute at least: the first seconds would have the same label many times.
        x: { time: true, range: (_, first, last) => [Math.min(first, last - 60), last] },
        y: { distr: widths ? 3 : 1, range: (_, low, high) => this.range(low, high) },
        ...(warm ? { warm: { range: (_: uPlot, low: number, high: number): [number, number] => [low - 1, high + 1] } } : {}),
      },
      axes: [
        { ...axis, space: 70, size: 28, values: [[3600, "{HH}:{mm}", null, null, null, null, null, null, 1], [60, "{HH}:{mm}", null, null, null, null, null, null, 1], [1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1]] },
        {
          ...axis,
          size: 78,
          values: (_, values) => {
            const texts = ticks(values.filter((v) => v !== null));
            return values.map((v) => (v === null ? "" : texts.shift()!));
          },
          // Of a logarithmic scale only the powers of ten.
          ...(widths ? { space: 14, filter: powers, grid: { ...axis.grid, filter: powers } } : { space: 34 }),
        },
        ...(warm ? [{ ...axis, scale: "warm", side: 1 as const, size: () => (this.warm ? 50 : 4), space: 34, grid: { show: false }, values: (_: uPlot, values: number[]) => values.map((v) => (this.warm ? `${v} °C` : "")) }] : []),
      ],
      series: [
        {},
        ...lines.map((line) => ({
          scale: line.axis ? "warm" : "y",
          stroke: ink(line.colour),
          width: line.width ?? 1,
          ...(line.dash ? { dash: line.dash } : {}),
          points: { show: false },
          spanGaps: false,
        })),
      ],
      bands: (bands ?? []).map(({ lines: [upper, lower], colour }) => ({ series: [upper + 1, lower + 1] as [number, number], fill: ink(colour) })),
    };
  }

  /** The scale: what has to fit, with a little room. */
  private range(low: number, high: number): [number, number] {
    const { zooms, lines, widths } = this.plan;
    if (widths) {
      if (!(low > 0)) return [1e3, 1e6];
      return [10 ** Math.floor(Math.log10(low)), 10 ** Math.ceil(Math.log10(high) + 1e-9)];
    }
    const chosen = zooms?.[this.zoom]?.lines ?? lines.flatMap((line, i) => (line.axis ? [] : [i]));
    const values = this.moments.flatMap((m) => chosen.map((i) => lines[i]!.of(m))).filter((v): v is number => v !== null);
    if (!values.length) return [-1, 1];
    // The first moments, when little is known, must not set the scale for the rest.
    values.sort((a, b) => a - b);
    const cut = Math.floor(values.length * 0.01);
    const [least, most] = [values[cut]!, values[values.length - 1 - cut]!];
    const room = (most - least) * 0.08 || Math.abs(most) * 1e-3 || 1;
    return [least - room, most + room];
  }

  private size(): { width: number; height: number } {
    return { width: Math.max(200, this.canvas.clientWidth), height: this.canvas.clientHeight || 220 };
  }

  private resize(): void {
    this.plot.setSize(this.size());
  }

  /** Draws these moments. */
  draw(moments: Moment[]): void {
    this.moments = moments;
    const columns = this.plan.lines.map((line) => moments.map((m) => line.of(m)));
    const warm = this.plan.lines.findIndex((line) => line.axis);
    if (warm >= 0 && !this.warm && columns[warm]!.some((value) => value !== null)) {
      this.warm = true;
      this.figure.querySelector(".legend")!.append(h("li", { "data-colour": "warm" }, "temperature"));
    }
    this.plot.setData([moments.map((m) => m.t), ...columns] as uPlot.AlignedData);
    this.describe();
    if (this.details.open) this.tabulate();
    this.read(this.plot.cursor.idx ?? null);
  }

  /** Draws the same in other colours. */
  recolour(): void {
    this.plot.redraw(false, true);
  }

  private shown(): Plan["lines"] {
    return this.plan.lines.filter((line) => line.of(this.moments.at(-1)!) !== null);
  }

  private value(line: Plan["lines"][number], moment: Moment): string {
    const value = line.of(moment);
    if (value === null) return "–";
    return line.axis ? `${value.toFixed(1)} ${line.axis}` : this.plan.text(value);
  }

  /** What there is to see, for those who do not see it. */
  private describe(): void {
    const last = this.moments.at(-1);
    const newest = last ? this.shown().map((line) => `${line.name} ${this.value(line, last)}`).join(", ") : "nothing known yet";
    this.canvas.setAttribute("aria-label", `${this.plan.title}. Now: ${newest}. Left and right arrow keys read the past.`);
  }

  /** Writes out the moment under the cursor. */
  private read(index: number | null): void {
    const moment = index === null ? undefined : this.moments[index];
    if (!moment) return say(this.readout, HINT);
    const values = this.shown().map((line) => `${line.name} ${this.value(line, moment)}`);
    say(this.readout, `${clock(moment.t)}: ${values.join(" · ")}`);
  }

  private key(event: KeyboardEvent): void {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30, Home: -1e9, End: 1e9 }[event.key];
    const last = this.moments.length - 1;
    if (step === undefined || last < 0) return;
    event.preventDefault();
    this.readout.setAttribute("role", "status");
    const index = Math.min(last, Math.max(0, (this.plot.cursor.idx ?? last) + step));
    this.plot.setCursor({ left: this.plot.valToPos(this.moments[index]!.t, "x"), top: 10 });
    this.read(index);
  }

  /** A dozen moments in numbers. */
  private tabulate(): void {
    if (!this.details.open) return;
    const { lines } = this.plan;
    const shown = lines.filter((line) => !line.axis || this.warm);
    const every = Math.max(1, Math.floor(this.moments.length / 12));
    const rows = this.moments.filter((_, i) => (this.moments.length - 1 - i) % every === 0).reverse().slice(0, 12);
    this.table.replaceChildren(
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "time (UTC)"), ...shown.map((line) => h("th", { scope: "col" }, line.name)))),
      h("tbody", {}, ...rows.map((moment) => h("tr", {}, h("th", { scope: "row" }, clock(moment.t)), ...shown.map((line) => h("td", {}, this.value(line, moment)))))),
    );
  }
}

const HINT = "Point at the chart, or focus it and press ← →, to read it.";

const clock = (t: number) => new Date(t * 1e3).toISOString().slice(11, 19);

/** All charts of the page. */
export function charts(find: (id: string) => HTMLElement): Chart[] {
  return PLANS.map((plan) => new Chart(plan, find(plan.id)));
}
