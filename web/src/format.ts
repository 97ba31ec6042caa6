// Numbers and foreign text as people may read them. Spans are ns.

/** Text from elsewhere, with what would command or reorder written out. */
export function clean(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${c.codePointAt(0)!.toString(16)}}`);
}

const UNITS: [number, string][] = [
  [1e9, "s"],
  [1e6, "ms"],
  [1e3, "µs"],
  [1, "ns"],
];

/** The unit in which a span of this size is read most easily. */
export function unit(ns: number): [number, string] {
  return UNITS.find(([scale]) => Math.abs(ns) >= scale) ?? [1, "ns"];
}

/** A span with four significant digits and its unit. */
export function span(ns: number): string {
  const [scale, name] = unit(ns);
  const value = ns / scale;
  const digits = name === "ns" ? 0 : Math.max(0, 3 - Math.floor(Math.log10(Math.max(1, Math.abs(value)))));
  return `${minus(value.toFixed(digits))} ${name}`;
}

/** The same with its sign. */
export function signed(ns: number): string {
  return (ns < 0 ? "" : "+") + span(ns);
}

/** A round span without the digits that say nothing. */
export function round(ns: number): string {
  return span(ns).replace(/(\.\d*?)0+ /, "$1 ").replace(". ", " ");
}

/** With a real minus sign, which is as wide as the plus. */
export function minus(text: string): string {
  return text.replace("-", "−");
}

/** A length of time in its two largest units. */
export function since(seconds: number): string {
  const s = Math.floor(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

export function percent(share: number): string {
  const value = share * 100;
  return `${value === 0 || value === 100 ? value : value.toFixed(value > 99 || value < 1 ? 2 : 1)} %`;
}
