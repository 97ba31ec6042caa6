// What was heard of the past: a point every 10 s from the server, one every second since the page is open.
import type { Point } from "./api";

export interface Moment {
  /** Seconds since 1970. */
  t: number;
  offset: number | null;
  early: number | null;
  late: number | null;
  interval: number | null;
  rate: number | null;
  rateSigma: number | null;
  temperature: number | null;
}

/** Longer than this without a point is a gap. */
const GAP = 35;
/** Points that are kept: an hour of one a second, and the hour before it. */
const KEPT = 4000;

const seconds = (point: Point) => Number(BigInt(point.time_ns) / 1_000_000n) / 1e3;
const known = (value: number | null) => (value === null || Math.abs(value) > 1e18 ? null : value);

export class Past {
  moments: Moment[] = [];

  add(point: Point): void {
    const t = seconds(point);
    // Time measured anew may be earlier: what was said of later instants does not hold.
    while (this.moments.length && this.moments.at(-1)!.t >= t) this.moments.pop();
    const last = this.moments.at(-1);
    if (last && t - last.t > GAP) this.moments.push({ ...EMPTY, t: last.t + 1 });
    const sigma = known(point.sigma_ns);
    this.moments.push({
      t,
      offset: known(point.system_offset_ns),
      early: known(point.early_ns),
      late: known(point.late_ns),
      interval: sigma === null ? null : sigma * 1.96,
      rate: point.rate_ppm,
      rateSigma: point.rate_sigma_ppm,
      temperature: point.temperature_celsius ?? null,
    });
    if (this.moments.length > KEPT) this.moments.splice(0, this.moments.length - KEPT);
  }

  /** Puts what the server remembers, oldest first, in the place of what was heard of the same stretch. */
  recall(points: Point[]): void {
    const [first, last] = [points[0], points.at(-1)];
    if (!first || !last) return;
    const heard = this.moments;
    this.moments = heard.filter((moment) => moment.t < seconds(first));
    for (const point of points) this.add(point);
    this.moments.push(...heard.filter((moment) => moment.t > seconds(last)));
  }

  /** The last `seconds`. */
  recent(seconds: number): Moment[] {
    const end = this.moments.at(-1)?.t ?? 0;
    const first = this.moments.findIndex((moment) => moment.t >= end - seconds);
    return first < 0 ? [] : this.moments.slice(first);
  }
}

const EMPTY: Moment = {
  t: 0,
  offset: null,
  early: null,
  late: null,
  interval: null,
  rate: null,
  rateSigma: null,
  temperature: null,
};
