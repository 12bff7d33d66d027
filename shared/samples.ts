/** The last N values of a measurement, for the percentiles that status and benchmarks show. */

/** The middle one of these, or the upper of two; 0 of none. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

export class Samples {
  readonly #values: Float64Array;
  #count = 0;
  last = 0;

  constructor(capacity = 4096) {
    this.#values = new Float64Array(capacity);
  }

  get count(): number {
    return this.#count;
  }

  add(value: number): void {
    this.#values[this.#count % this.#values.length] = value;
    this.#count += 1;
    this.last = value;
  }

  /** `share` from 0 to 1; 0 when nothing was measured. */
  quantile(share: number): number {
    const n = Math.min(this.#count, this.#values.length);
    if (n === 0) return 0;
    const sorted = this.#values.slice(0, n).sort();
    return sorted[Math.min(n - 1, Math.floor(share * n))] ?? 0;
  }

  summary(): { p50: number; p99: number; last: number } {
    return { p50: this.quantile(0.5), p99: this.quantile(0.99), last: this.last };
  }
}
