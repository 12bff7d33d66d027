/** Which compression gets an epoch acknowledged soonest on this link, from what each was measured to cost and save. */

import type { Grain } from '../../native/index.ts';
import { CopiesChoice, type CopyCounts, type CopyUse } from './copies-choice.ts';
import { LinkRate } from './link-rate.ts';

/** Fast and light to strong and slow. */
export const tiers = ['none', 'snappy', 'zstd1', 'zstd2'] as const;
export type Tier = (typeof tiers)[number];

/** What is in use, and why. */
export interface Compression {
  tier: Tier;
  linkBitsPerS: number;
  linkMeasured: boolean;
  /** Compressed bytes per byte. */
  ratio: number;
  /** Content that the backup has at another address: sums since the start. */
  copies: CopyCounts & { use: CopyUse; indexBytes: number };
}

interface Experience {
  /** Compressed bytes per byte. */
  ratio: number;
  /** Time of a processor per byte; how long a busy one lets it wait is counted apart. */
  nsPerByte: number;
  /** When this tier was last tried, in choices. */
  triedAt: number;
}

/** Weight of the newest measurement. */
const WEIGHT = 0.2;
/** A single long wait mostly tells of somebody's short burst; the least of so many tells what of the processors is left. */
const RECENT = 16;
/** Payloads that kept more than this share were given up on early, and say nothing about the time others take. */
const HOPELESS_SHARE = 0.9;
/** One choice in so many tries the tier tried longest ago: data and load change. */
const EXPLORE_EVERY = 32;
/** What compresses well also compresses faster than what was measured last, but hardly by more than this factor. */
const FASTER_AT_MOST = 4;
/** Another tier must be faster by this factor before it takes over, so that noise does not make the choice swing. */
const HYSTERESIS = 1.25;
/**
 * A byte saved may cost a processor so many times the time that the link takes for a byte, however many processors share
 * the work: floating point, of which a tenth can be saved, costs more, and the processors are left to others.
 */
const MAX_PROCESSOR_PER_LINK_TIME = 4 / 3;
/**
 * Below this rate of the link the few bytes that words save over bytes, once zstd has both, are worth the time they cost: on
 * deltas of server guests 1 to 12 % fewer bytes for 15 to 40 % more time.
 */
const WORDS_BELOW_BITS_PER_S = 200e6;
/** Below this, likewise, zstd's level 2 instead of 1: on words 1 to 5 % fewer bytes (SQLite: 23 %) for 6 to 30 % more time. */
const LEVEL_2_BELOW_BITS_PER_S = 120e6;
/** Payloads below this take the same time in any tier, and teach nothing. */
const MIN_LESSON_BYTES = 64 * 1024;

export class CodecChoice {
  readonly link: LinkRate;
  readonly copies: CopiesChoice;
  #choices = 0;
  #tier: Tier | undefined;
  // What deltas of server guests were measured to give; the first epochs correct it.
  readonly #experience: Record<Tier, Experience> = {
    none: { ratio: 1, nsPerByte: 0, triedAt: 0 },
    snappy: { ratio: 0.55, nsPerByte: 6, triedAt: 0 },
    zstd1: { ratio: 0.43, nsPerByte: 3, triedAt: 0 },
    zstd2: { ratio: 0.41, nsPerByte: 3.5, triedAt: 0 },
  };
  /**
   * How many times longer than the processor worked on them the last lessons took, whatever their tier: a busy processor is
   * as busy for the tiers that were not tried lately.
   */
  readonly #slowdowns = [1];

  /** How many payloads of an epoch are compressed at once; on the link they go one after the other. */
  readonly #atOnce: number;

  constructor(link = new LinkRate(), atOnce = 1) {
    this.link = link;
    this.#atOnce = atOnce;
    this.copies = new CopiesChoice(() => ({ byteNs: this.#costNs(this.best), atOnce }));
  }

  /** The tier with the shortest time to compress and send a byte. */
  get best(): Tier {
    const tiers = this.#tiers.filter((tier) => this.#isThrifty(tier));
    const cheapest = tiers.reduce((best, tier) => (this.#costNs(tier) < this.#costNs(best) ? tier : best));
    if (this.#tier === undefined || !tiers.includes(this.#tier)) this.#tier = cheapest;
    if (this.#costNs(this.#tier) >= this.#costNs(cheapest) * HYSTERESIS) this.#tier = cheapest;
    return this.#tier;
  }

  #isThrifty(tier: Tier): boolean {
    const { ratio, nsPerByte } = this.#experience[tier];
    return nsPerByte <= (1 - ratio) * this.#linkNs * MAX_PROCESSOR_PER_LINK_TIME;
  }

  /** Those this link is fit for. */
  get #tiers(): readonly Tier[] {
    const isSlow = this.link.bitsPerS < LEVEL_2_BELOW_BITS_PER_S;
    return tiers.filter((tier) => tier !== (isSlow ? 'zstd1' : 'zstd2'));
  }

  /** What an epoch's changes are best cut into, as it will most likely be sent. */
  get grain(): Grain {
    const isZstd = this.best === 'zstd1' || this.best === 'zstd2';
    return isZstd && this.link.bitsPerS < WORDS_BELOW_BITS_PER_S ? 'words' : 'bytes';
  }

  /** The tier for the next payload: the best, or now and then one to learn from. */
  next(payloadBytes: number): Tier {
    if (payloadBytes < MIN_LESSON_BYTES) return this.best;
    this.#choices += 1;
    if (this.#choices % EXPLORE_EVERY !== 0) return this.best;
    // On a link that carries a payload long before it is compressed, a trial would only make an epoch late.
    const promising = this.#tiers.filter((tier) => tier !== 'none' && this.#mayPay(tier));
    if (promising.length === 0) return this.best;
    return promising.reduce((a, b) => (this.#experience[a].triedAt <= this.#experience[b].triedAt ? a : b));
  }

  /** Whatever else wants the processors now: that changes, and only trials would tell. */
  #mayPay(tier: Tier): boolean {
    return this.#experience[tier].nsPerByte / this.#atOnce < FASTER_AT_MOST * this.#linkNs;
  }

  /** What a tier did to a payload; `packedBytes` equal to `payloadBytes` when it was sent as it was. */
  learn(
    tier: Tier,
    payloadBytes: number,
    packedBytes: number,
    { cpuNs, wallNs }: { cpuNs: number; wallNs: number },
  ): void {
    if (tier === 'none' || payloadBytes < MIN_LESSON_BYTES) return;
    const known = this.#experience[tier];
    known.ratio += WEIGHT * (packedBytes / payloadBytes - known.ratio);
    known.triedAt = this.#choices;
    if (packedBytes > payloadBytes * HOPELESS_SHARE) return;
    known.nsPerByte += WEIGHT * (cpuNs / payloadBytes - known.nsPerByte);
    this.#slowdowns.push(Math.max(1, wallNs / cpuNs));
    if (this.#slowdowns.length > RECENT) this.#slowdowns.shift();
  }

  /** As `status` shows it; `indexBytes` is memory of the index that copies are found by. */
  status(indexBytes = 0): Compression {
    const tier = this.best;
    return {
      tier,
      linkBitsPerS: Math.round(this.link.bitsPerS),
      linkMeasured: this.link.known,
      ratio: Math.round(this.#experience[tier].ratio * 1000) / 1000,
      copies: { ...this.copies.status(), indexBytes },
    };
  }

  #costNs(tier: Tier): number {
    const { ratio, nsPerByte } = this.#experience[tier];
    const compressNs = (nsPerByte * Math.min(...this.#slowdowns)) / this.#atOnce;
    return compressNs + ratio * this.#linkNs;
  }

  /** Time of a byte on the link. */
  get #linkNs(): number {
    return 8e9 / this.link.bitsPerS;
  }
}
