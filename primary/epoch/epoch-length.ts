/** How long an epoch should be: the shortest that keeps the guest's pauses and the backlog of acknowledgements under set bounds. */

/** What the operator asked for. With `maxMs` equal to `minMs` the length is fixed. */
export interface EpochBounds {
  minMs: number;
  maxMs: number;
  /** Share of time the guest may stand still, 0 to 1. */
  pauseShare: number;
  /** Longest that an epoch's acknowledgement should take; no bound if not given. */
  commitMs?: number;
  /** Epochs that may be on their way to the backup. */
  windowEpochs: number;
}

/** Share of time the guest may stand still unless set: a tenth, as `protect --dry-run` reckons with. */
export const DEFAULT_PAUSE_SHARE = 0.1;

/** Weights of the newest measurement: load that rises is followed at once, load that falls is believed after a while. */
const RISING_WEIGHT = 0.5;
const FALLING_WEIGHT = 0.1;
/** From one epoch to the next the length at most doubles or halves, so that one odd measurement does not rule. */
const MAX_STEP = 2;
/** Keeping commits short may cost this many times the bound of the pause share, and no more. */
const PAUSE_SHARE_STRETCH = 2;

/** Pure: fed with what each epoch took, asked for the next length. */
export class EpochLength {
  readonly #bounds: EpochBounds;
  #ms: number;
  #pauseMs: number | undefined;
  #commitMs: number | undefined;

  constructor(bounds: EpochBounds) {
    this.#bounds = bounds;
    this.#ms = bounds.minMs;
  }

  get ms(): number {
    return this.#ms;
  }

  /** An epoch was captured; `inFlight` epochs, this one included, are not acknowledged. */
  captured(pauseMs: number, inFlight: number): void {
    this.#pauseMs = follow(this.#pauseMs, pauseMs);
    this.#ms = this.#stepped(this.#wantedMs(this.#pauseMs, inFlight));
  }

  committed(commitMs: number): void {
    this.#commitMs = follow(this.#commitMs, commitMs);
  }

  #wantedMs(pauseMs: number, inFlight: number): number {
    const { pauseShare, commitMs: bound, windowEpochs } = this.#bounds;
    const commitMs = this.#commitMs ?? 0;
    // The interval holds the pause itself: pause / interval is the share.
    const forPauses = pauseMs / pauseShare;
    // Acknowledgements have to keep up: what is not acknowledged yet must fit the window.
    const forWindow = commitMs / windowEpochs;
    const shortest = Math.max(forPauses, forWindow);
    // Epochs queue behind each other: fewer of them is what helps, not smaller ones.
    const queues = inFlight > 1;
    if (bound === undefined || commitMs <= bound || queues) return shortest;
    return Math.max(Math.min(shortest, (this.#ms * bound) / commitMs), forPauses / PAUSE_SHARE_STRETCH);
  }

  #stepped(wantedMs: number): number {
    const { minMs, maxMs } = this.#bounds;
    const stepped = Math.min(Math.max(wantedMs, this.#ms / MAX_STEP), this.#ms * MAX_STEP);
    return Math.min(Math.max(stepped, minMs), maxMs);
  }
}

function follow(before: number | undefined, now: number): number {
  if (before === undefined) return now;
  return before + (now > before ? RISING_WEIGHT : FALLING_WEIGHT) * (now - before);
}
