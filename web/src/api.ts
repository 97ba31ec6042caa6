// What the program answers (openapi.json), and how it is asked.

export interface Time {
  time: string | null;
  estimate_ns: string | null;
  earliest_ns: string | null;
  latest_ns: string | null;
  max_error_ns: number | null;
  narrow: { earliest_ns: string; latest_ns: string; assumes: string } | null;
  intervals_ns: Record<"50" | "90" | "95" | "99", number> | null;
  system_offset_ns: number | null;
  state: string;
  reason: string;
  source: string;
  simulation: boolean | null;
}

export interface Bound {
  earliest_ns: number;
  latest_ns: number;
}

export interface Source {
  mode?: string;
  server: string;
  address: string;
  verdict: string;
  best: boolean;
  stratum: number | null;
  reference: string;
  poll_seconds: number;
  reach: number;
  last_answer_seconds: number | null;
  offset_ns: number | null;
  delay_ns: number | null;
  stamps: string | null;
  sent: number;
  answers: number;
  trouble: string | null;
  contradictions: number;
  bound: Bound | null;
}

export interface Model {
  member: string;
  model: string;
  family: string | null;
  state: string;
  reason: string | null;
  standing: string;
  weight: number;
  correction_ns: number;
  last_inference_seconds: number | null;
  inference_ms: number | null;
  horizons: { horizon_seconds: number; weight: number; skill: number; error_ns: number; stretches: number }[];
}

export interface Happening {
  time: string;
  kind: string;
  source: string | null;
  text: string;
}

export interface Status {
  version: string;
  pid: number;
  simulation: boolean;
  uptime_seconds: number;
  warmup_progress: number;
  source: string;
  temperature_celsius?: number | null;
  clock: {
    rate_ppm: number;
    rate_sigma_ppm: number;
    early_ns: number;
    late_ns: number;
    bound_growth_ppm: number;
    rms_offset_ns: number;
    leap: string;
    last_measurement_seconds: number | null;
  } | null;
  traffic: { polls: number; answers: number; compared: number; worse: number; stamps: string };
  predictions: { counted: number; covered_50: number; covered_90: number; covered_95: number; covered_99: number };
  sources: Source[];
  models: Model[];
  unresolved: string[];
  events: Happening[];
  memory_bytes: number;
  snapshot_age_seconds: number;
}

export interface Point {
  time_ns: string;
  state: string;
  system_offset_ns: number | null;
  early_ns: number | null;
  late_ns: number | null;
  sigma_ns: number | null;
  rate_ppm: number | null;
  rate_sigma_ppm: number | null;
  temperature_celsius?: number | null;
  simulation: boolean;
}

/** The server wants its token. */
export class Locked extends Error {}

/** The server answers, but not what it was asked for. */
export class Refused extends Error {}

const SECRET = "chronotick-token";

/** Keeps the token for as long as the tab lives. */
export function unlock(token: string): void {
  sessionStorage.setItem(SECRET, token);
}

async function request(path: string, signal: AbortSignal, accept: string): Promise<Response> {
  const headers: Record<string, string> = { accept };
  const token = sessionStorage.getItem(SECRET);
  if (token) headers["authorization"] = `Bearer ${token}`;
  const response = await fetch(path, { headers, signal, cache: "no-store" });
  if (response.status === 401) throw new Locked(path);
  if (!response.ok) throw new Refused(`it refuses ${path} (${response.status})`);
  return response;
}

/** Asks once, and waits no longer than a few seconds. */
export async function ask<T>(path: string): Promise<T> {
  const response = await request(path, AbortSignal.timeout(5000), "application/json");
  return (await response.json()) as T;
}

/** Follows the server's events until the stream ends, or is silent for longer than `patience` ms. */
export async function follow(
  path: string,
  patience: number,
  told: (event: string, data: string) => void,
): Promise<void> {
  const ending = new AbortController();
  let silence = setTimeout(() => ending.abort(), patience);
  try {
    const response = await request(path, ending.signal, "text/event-stream");
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let waiting = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(silence);
      silence = setTimeout(() => ending.abort(), patience);
      const blocks = (waiting + value).split(/\r?\n\r?\n/);
      waiting = blocks.pop()!;
      for (const block of blocks) {
        const field = (name: string) =>
          block
            .split(/\r?\n/)
            .filter((line) => line.startsWith(`${name}:`))
            .map((line) => line.slice(name.length + 1).replace(/^ /, ""))
            .join("\n");
        if (field("data")) told(field("event") || "message", field("data"));
      }
    }
  } finally {
    clearTimeout(silence);
    ending.abort();
  }
}
