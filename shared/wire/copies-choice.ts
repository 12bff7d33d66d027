/** Whether to look for copies of what the backup has: used while they save more time than looking for them takes, else tried now and then. */

/** What one epoch with copies found and took. */
export interface CopyCounts {
  /** Pages with words that were sent as copies, in how many runs. */
  pages: number;
  runs: number;
  /** Bytes that left the epoch's deltas for it, before compression. */
  savedBytes: number;
  /** Looking for them, the time of all threads together. */
  ns: number;
}

/** An epoch's deltas of guest memory, before and after compression. */
export interface SentBytes {
  payloadBytes: number;
  packedBytes: number;
}

/** What a byte fewer in the deltas is worth, and how many threads look for copies. */
export interface CopyPrice {
  /** Time to compress a byte, and to send what is left of it. */
  byteNs: number;
  atOnce: number;
}

export type CopyUse = 'off' | 'trying' | 'on';

/** Epochs of one try: the first ones mostly teach where content stands. */
const TRY_EPOCHS = 8;
/** Epochs between a try in vain and the next; each time they double, up to the most. The first try is made at once. */
const MIN_REST_EPOCHS = 32;
const MAX_REST_EPOCHS = 2048;
/**
 * Compression by itself would have found some of what is copied, where it stands twice in one epoch: of what copies save in the
 * deltas, from one part in ten (Redis) to nine (a database file that is written) is saved in the end. Until measured, and the least.
 */
const ASSUMED_LASTING = 1 / 3;
const MIN_LASTING = 1 / 10;
/** Compressed, a run's place, length and source. */
const RUN_BYTES = 5;
/** Looking delays the guest too, which compressing and sending do not: it must save more than it takes. */
const MIN_GAIN = 1.5;
/** A page that is copied whole takes about so long; where sending it whole takes not twice as long, nothing is to be gained. */
const PAGE_NS = 2000;
const PAGE_BYTES = 4096;
/** Weight of the newest epoch. */
const WEIGHT = 0.1;

export class CopiesChoice {
  readonly #price: () => CopyPrice;
  #use: CopyUse = 'off';
  /** Epochs left of a try, or of the rest between two. */
  #left = 1;
  #rest = MIN_REST_EPOCHS;
  #gainNs = 0;
  #costNs = 0;
  /** Deltas of epochs without copies, the older the less of them. */
  readonly #plain: SentBytes = { payloadBytes: 0, packedBytes: 0 };
  /** The same of the epochs of this try, and what copies saved in them. */
  #tried = { payloadBytes: 0, packedBytes: 0, savedBytes: 0 };
  #lasting = ASSUMED_LASTING;
  readonly #sum: CopyCounts = { pages: 0, runs: 0, savedBytes: 0, ns: 0 };

  constructor(price: () => CopyPrice) {
    this.#price = price;
  }

  /** On a link that carries a page about as fast as a copy of it is found, nothing is looked for or noted. */
  get mayPay(): boolean {
    return PAGE_BYTES * this.#price().byteNs > 2 * PAGE_NS;
  }

  /** Whether the next epoch looks for copies. */
  next(): boolean {
    if (this.#use === 'off' && --this.#left <= 0 && this.mayPay) {
      this.#use = 'trying';
      this.#left = TRY_EPOCHS;
      this.#gainNs = 0;
      this.#costNs = 0;
      this.#tried = { payloadBytes: 0, packedBytes: 0, savedBytes: 0 };
    }
    return this.#use !== 'off';
  }

  /** What became of an epoch that did not look for copies. */
  learnPlain({ payloadBytes, packedBytes }: SentBytes): void {
    this.#plain.payloadBytes = this.#plain.payloadBytes * (1 - WEIGHT) + payloadBytes;
    this.#plain.packedBytes = this.#plain.packedBytes * (1 - WEIGHT) + packedBytes;
  }

  /** What an epoch that did look found, and what became of the rest. */
  learn(counts: CopyCounts, { payloadBytes, packedBytes }: SentBytes): void {
    if (this.#use === 'trying') {
      this.#tried.payloadBytes += payloadBytes;
      this.#tried.packedBytes += packedBytes;
      this.#tried.savedBytes += counts.savedBytes;
      this.#lasting = this.#measuredLasting();
    }
    for (const key of ['pages', 'runs', 'savedBytes', 'ns'] as const) this.#sum[key] += counts[key];
    const weight = this.#use === 'trying' ? 1 : WEIGHT;
    const keep = this.#use === 'trying' ? 1 : 1 - WEIGHT;
    this.#gainNs = this.#gainNs * keep + this.#worthNs(counts.savedBytes, counts.runs) * weight;
    this.#costNs = this.#costNs * keep + (counts.ns / this.#price().atOnce) * weight;
    if (this.#use === 'trying' && --this.#left > 0) return;
    if (this.#use === 'off') return;
    const pays = this.#gainNs > this.#costNs * MIN_GAIN;
    if (pays && this.#use === 'trying') {
      this.#gainNs /= TRY_EPOCHS;
      this.#costNs /= TRY_EPOCHS;
      this.#rest = MIN_REST_EPOCHS;
    }
    if (!pays) {
      this.#left = this.#rest;
      this.#rest = Math.min(this.#rest * 2, MAX_REST_EPOCHS);
    }
    this.#use = pays ? 'on' : 'off';
  }

  /** As `status` shows it; counts are sums since the start. */
  status(): CopyCounts & { use: CopyUse } {
    return { use: this.#use, ...this.#sum };
  }

  #worthNs(savedBytes: number, runs: number): number {
    return (savedBytes * this.#lasting - runs * RUN_BYTES) * this.#price().byteNs;
  }

  /** Of the bytes that copies saved in this try's deltas, the share by which these came out smaller than epochs before it would have. */
  #measuredLasting(): number {
    const { payloadBytes, packedBytes, savedBytes } = this.#tried;
    const ratio = this.#plain.packedBytes / this.#plain.payloadBytes;
    if (!(ratio > 0) || savedBytes === 0) return ASSUMED_LASTING;
    const saved = (payloadBytes + savedBytes) * ratio - packedBytes;
    return Math.min(1, Math.max(MIN_LASTING, saved / (savedBytes * ratio)));
  }
}
