/** What the primary measures of its epochs, in the shape `status` shows. */

import { Samples } from '../shared/samples.ts';
import type { VmStatus } from '../shared/status.ts';
import type { Checkpoint } from './epoch/capture.ts';

export class Meters {
  readonly pauseMs = new Samples();
  readonly commitMs = new Samples();
  readonly dirtyPages = new Samples();
  rawBytes = 0;
  /** Wire bytes of sessions that have ended. */
  pastWireBytes = 0;
  epochMs = 0;
  #lastBeganMs: number | undefined;
  #lastAckMs: number | undefined;

  captured(checkpoint: Checkpoint, beganMs: number): void {
    this.pauseMs.add(checkpoint.times.pauseMs);
    this.dirtyPages.add(checkpoint.dirtyPages);
    this.rawBytes += checkpoint.rawBytes;
    if (this.#lastBeganMs !== undefined) this.epochMs = Math.round((beganMs - this.#lastBeganMs) * 10) / 10;
    this.#lastBeganMs = beganMs;
  }

  commit(commitMs: number, nowMs: number): void {
    this.commitMs.add(commitMs);
    this.#lastAckMs = nowMs;
  }

  status(): Pick<VmStatus, 'pauseMs' | 'dirtyPages' | 'rawBytes' | 'commitMs' | 'lastAckAgeMs'> {
    const { p50, p99, last } = this.pauseMs.summary();
    return {
      pauseMs: { p50, p99, last },
      dirtyPages: { last: this.dirtyPages.last, p50: this.dirtyPages.quantile(0.5) },
      rawBytes: this.rawBytes,
      commitMs: { p50: this.commitMs.quantile(0.5), p99: this.commitMs.quantile(0.99) },
      ...(this.#lastAckMs !== undefined && { lastAckAgeMs: performance.now() - this.#lastAckMs }),
    };
  }
}
