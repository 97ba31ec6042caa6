// A server that answers as the program does, with a clock that drifts in a known way: for drawing the page without a
// daemon, and for what a daemon on loopback cannot show (hostile names, models with a share, a simulation).
import { createServer } from "node:http";
import { readFileSync } from "node:fs";

const page = new URL("../../crates/chronotick/src/http/page/", import.meta.url);

const HOSTILE = "evil\u001b[2J<img src=x onerror=alert(1)>\u202egnp";

/** The world `t` seconds after it began. */
function world(t, began, simulation) {
  const wave = Math.sin(t / 240);
  const quiet = Math.exp(-Math.min(t, 600) / 60);
  const rate = 20.1 + 0.4 * Math.sin(t / 700) + quiet * 3 * Math.sin(t);
  const saw = 1 + ((t % 64) / 64) * 0.25;
  return {
    began: BigInt(Math.round(began * 1e3)) * 1_000_000n,
    utc: BigInt(Math.round((began + t) * 1e3)) * 1_000_000n,
    offset: Math.round(37.1e6 + 3.1e5 * wave + quiet * 2e5 * Math.sin(t * 1.7) + 2e4 * t / 3600),
    early: Math.round(2.1e6 * saw + 6e6 * quiet),
    late: Math.round(2.3e6 * saw + 5e6 * quiet),
    sigma: Math.round(4.5e4 + 6e5 * quiet + 6e3 * Math.sin(t / 30)),
    rate,
    rateSigma: 0.05 + quiet * 4,
    temperature: 44 + 3 * Math.sin(t / 700),
    simulation,
  };
}

const rfc3339 = (ns) => new Date(Number(ns / 1_000_000n)).toISOString().replace("Z", "000000Z");

function point(w) {
  return {
    time: rfc3339(w.utc), time_ns: String(w.utc), state: "synced", source: "fusion", system_offset_ns: w.offset,
    early_ns: w.early, late_ns: w.late, sigma_ns: w.sigma, rate_ppm: w.rate, rate_sigma_ppm: w.rateSigma, temperature_celsius: w.temperature,
    rms_offset_ns: 20000, sources_trusted: 4, sources_total: 6, simulation: w.simulation,
  };
}

function time(w) {
  return {
    time: rfc3339(w.utc), estimate_ns: String(w.utc), earliest_ns: String(w.utc - BigInt(w.early)), latest_ns: String(w.utc + BigInt(w.late)),
    max_error_ns: Math.max(w.early, w.late),
    narrow: {
      earliest_ns: String(w.utc - 310000n), latest_ns: String(w.utc + 280000n),
      assumes: "the fastest round trips to most sources took as long one way as the other, to within 1 % and 50 µs, and this clock's frequency does not jump",
    },
    sigma_ns: w.sigma, intervals_ns: { 50: Math.round(w.sigma * 0.67), 90: Math.round(w.sigma * 1.64), 95: Math.round(w.sigma * 1.96), 99: Math.round(w.sigma * 2.58) },
    system_time: rfc3339(w.utc), system_time_ns: "0", system_offset_ns: w.offset,
    state: "synced", reason: "a majority of the sources agrees", source: "fusion", simulation: w.simulation,
  };
}

function source(server, verdict, offset, half, more = {}) {
  return {
    server, address: `${server}:123`, verdict, best: false, stratum: 1, reference: "GPS", poll_seconds: 16, reach: 255, last_answer_seconds: 7.2,
    offset_ns: offset, delay_ns: half * 2, root_delay_ns: 0, root_dispersion_ns: 12000, stamps: "kernel", sent: 100, answers: 99, trouble: null,
    contradictions: 0, path: null, bound: half ? { earliest_ns: offset - half, latest_ns: offset + half * 0.97 } : null, ...more,
  };
}

function model(member, name, state, weight, skill) {
  const horizons = skill === null ? [] : [8, 60, 300, 1800].map((horizon_seconds, i) => ({ horizon_seconds, weight: weight * (i + 1) / 4, skill: skill * (i + 1) / 4, error_ns: 21000 * (i + 1), stretches: 40 - 9 * i }));
  return {
    member, model: name, family: name || null, state, reason: state === "missing" ? "no checkpoint in the cache; `chronotick models pull chronos` fetches it" : null,
    standing: weight > 0 ? "better than the bank at 4 horizons" : "not better than the bank", weight, correction_ns: weight > 0 ? 4200 : 0,
    last_inference_seconds: weight > 0 ? 12.4 : null, inference_ms: weight > 0 ? 8.31 : null, busy_seconds: null, asked: 9, answered: 9, late: 0, cached: 1, put_off: 0, horizons,
  };
}

function status(w, t, hostile) {
  const sources = [
    source("time1.example.net", "trusted", 41000, 2.4e6, { best: true }),
    source("time2.example.net", "trusted", -120000, 5.2e6),
    source("2001:db8::7b", "trusted", 330000, 9.6e6, { stratum: 2, stamps: "user", address: "[2001:db8::7b]:123" }),
    source("ntp.a-rather-long-name-of-a-university.example", "trusted", 0, 7.1e6),
    source("liar.example.org", "falseticker", 250.1e6, 6e5, { trouble: "contradicted the majority by 250 ms" }),
    source("silent.example.org", "unmeasured", null, 0, { bound: null, offset_ns: null, delay_ns: null, stratum: null, stamps: null, last_answer_seconds: null, reach: 0 }),
  ];
  if (hostile) sources[3] = { ...sources[3], server: HOSTILE, address: "192.0.2.9:123", trouble: HOSTILE };
  return {
    version: "0.1.0", pid: 4711, simulation: w.simulation, raw_ns: 0, written: rfc3339(w.utc), uptime_seconds: t, warmup_progress: Math.min(1, t / 180),
    warmup_seconds: 180, state: "synced", reason: "a majority of the sources agrees", source: "fusion", temperature_celsius: w.temperature,
    clock: {
      system_offset_ns: w.offset, rate_ppm: w.rate, rate_sigma_ppm: w.rateSigma, sigma_ns: w.sigma, early_ns: w.early, late_ns: w.late,
      bound_growth_ppm: 15.2, rms_offset_ns: 20000, leap: "none", last_measurement_seconds: 2.1,
    },
    traffic: { polls: 640, answers: 629, trusted: 500, published: 3000, compared: 412, worse: 3, stamps: "mixed" },
    predictions: { counted: 480, covered_50: 251, covered_90: 436, covered_95: 459, covered_99: 477 },
    sources,
    models: [model("short_term", "chronos", "missing", 0, null), model("long_term", "foresight", "ready", 0.62, 0.31), model("environment", "", "ready", 0, -0.02)],
    unresolved: ["lost.example: no such name; check the name or remove it"],
    events: [
      { time: rfc3339(w.began), utc_ns: 0, kind: "state", source: null, text: "warmup -> synced: a majority of the sources agrees" },
      { time: rfc3339(w.began + 60_000_000_000n), utc_ns: 0, kind: "verdict", source: "x", text: `${hostile ? HOSTILE : "liar.example.org"} is falseticker` },
    ],
    memory_bytes: 41 * 1048576, snapshot_age_seconds: 0.3,
  };
}

/** Starts one; `stop` ends it and every connection. */
export async function start({ port = 0, simulation = false, hostile = false, token = null, age = 1500 } = {}) {
  const began = Date.now() / 1e3 - age;
  const t = () => Date.now() / 1e3 - began;
  const answer = (path, response) => {
    const json = (value) => response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
    const w = world(t(), began, simulation);
    if (path === "/") {
      response.writeHead(200, { "content-type": "text/html; charset=utf-8", "content-security-policy": readFileSync(new URL("policy.txt", page), "utf8") });
      return response.end(readFileSync(new URL("index.html", page)));
    }
    if (path === "/v1/time") return json(time(w));
    if (path === "/v1/status") return json(status(w, t(), hostile));
    if (path === "/v1/history") {
      const points = [];
      for (let s = Math.max(0, t() - 3600); s < t(); s += 10) points.push(point(world(s, began, simulation)));
      return json({ resolution_seconds: 10, points });
    }
    if (path === "/v1/events") {
      response.writeHead(200, { "content-type": "text/event-stream" });
      const tell = () => response.write(`event: status\ndata: ${JSON.stringify(point(world(t(), began, simulation)))}\n\n`);
      tell();
      const timer = setInterval(tell, 1000);
      return response.on("close", () => clearInterval(timer));
    }
    response.writeHead(404).end();
  };
  const server = createServer((request, response) => {
    const path = new URL(request.url, "http://x").pathname;
    if (token && path !== "/" && request.headers.authorization !== `Bearer ${token}`) return response.writeHead(401).end("{}");
    answer(path, response);
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  const stop = () => new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
  return { port: server.address().port, stop };
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const { port } = await start({ port: 8038, simulation: process.argv.includes("--simulation"), hostile: process.argv.includes("--hostile") });
  console.log(`http://127.0.0.1:${port}/`);
}
