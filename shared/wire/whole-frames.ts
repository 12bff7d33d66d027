/** Cuts what a connection receives into pieces that end where WebSocket frames end, so that `ws` has nothing to put together. */

import { takeSlab } from './slabs.ts';

const AREA_BYTES = 64 * 1024;
/** Read at once while it is not known what comes: what is read of a large frame is moved to its slab. */
const PROBE_BYTES = 16 * 1024;
/** Two bytes, a length of up to eight, a mask. */
const MAX_HEADER_BYTES = 14;
/** A frame above this is not moved on within areas, but gets a slab. */
const MAX_AREA_FRAME_BYTES = AREA_BYTES / 2;

/**
 * `room` is read into and `took` told, which returns what is whole by then, contiguous. A frame that does not fit what is left
 * of the area gets a slab of its own, in which it stays until it is handed to `releaseMessage`.
 */
export class WholeFrames {
  /** A message above this is passed on in pieces, as is all that follows: `ws`, or whoever counts bytes, refuses it. */
  maxMessageBytes: number;
  #area = Buffer.allocUnsafeSlow(AREA_BYTES);
  /** Within the area: what was not returned yet. */
  #from = 0;
  #to = 0;
  /** The frame that has begun in the area: where it will end, if that is known. */
  #end = 0;
  #large: { slab: Buffer; frameBytes: number; filled: number } | undefined;
  #givenUp = false;

  constructor(maxMessageBytes: number) {
    this.maxMessageBytes = maxMessageBytes;
  }

  /** Where the next read should go; never empty. */
  room(): Buffer {
    if (this.#large !== undefined) {
      const { slab, filled, frameBytes } = this.#large;
      return slab.subarray(filled, frameBytes);
    }
    if (AREA_BYTES - this.#to < PROBE_BYTES) this.#moveOn();
    return this.#area.subarray(this.#to, Math.max(this.#to + PROBE_BYTES, this.#end));
  }

  /** `bytes` were read into the room given last. */
  took(bytes: number): Buffer | undefined {
    const large = this.#large;
    if (large === undefined) {
      this.#to += bytes;
      return this.#whole();
    }
    large.filled += bytes;
    if (large.filled < large.frameBytes) return undefined;
    this.#large = undefined;
    return large.slab.subarray(0, large.frameBytes);
  }

  /** Takes, by copying it, what was read elsewhere; returns what is whole by then, piece by piece. */
  add(data: Buffer): Buffer[] {
    const pieces: Buffer[] = [];
    for (let at = 0; at < data.length; ) {
      const bytes = data.copy(this.room(), 0, at);
      at += bytes;
      const whole = this.took(bytes);
      if (whole !== undefined) pieces.push(whole);
    }
    return pieces;
  }

  #whole(): Buffer | undefined {
    const { at, next } = this.#givenUp ? { at: this.#to, next: 0 } : this.#lastBoundary();
    const whole = at > this.#from ? this.#area.subarray(this.#from, at) : undefined;
    this.#from = at;
    this.#end = at + next;
    if (at + next > AREA_BYTES - PROBE_BYTES) {
      // It is too long for what is left of the area.
      if (next > MAX_AREA_FRAME_BYTES) this.#begin(next);
      else this.#moveOn();
    }
    return whole;
  }

  /** Where the last whole frame ends, and how long the one after it is; 0 if that is not known yet. */
  #lastBoundary(): { at: number; next: number } {
    let at = this.#from;
    for (;;) {
      const bytes = frameBytesAt(this.#area, at, this.#to);
      if (bytes > this.maxMessageBytes + MAX_HEADER_BYTES) {
        this.#givenUp = true;
        return { at: this.#to, next: 0 };
      }
      if (bytes === 0 || at + bytes > this.#to) return { at, next: bytes };
      at += bytes;
    }
  }

  /** The frame that has begun goes on in a slab of its own. */
  #begin(frameBytes: number): void {
    const begun = this.#area.subarray(this.#from, this.#to);
    const slab = takeSlab(frameBytes);
    slab.set(begun);
    this.#large = { slab, frameBytes, filled: begun.length };
    this.#from = this.#to;
    this.#end = this.#to;
  }

  /** Goes on in a new area: `ws` still looks at the one before. */
  #moveOn(): void {
    const rest = this.#area.subarray(this.#from, this.#to);
    this.#area = Buffer.allocUnsafeSlow(AREA_BYTES);
    this.#area.set(rest);
    this.#end -= this.#from;
    this.#from = 0;
    this.#to = rest.length;
  }
}

/** Length of the WebSocket frame (RFC 6455, section 5.2) at `at`, header included; 0 while that cannot be told. */
export function frameBytesAt(data: Buffer, at: number, end: number): number {
  if (end - at < 2) return 0;
  const second = data.readUInt8(at + 1);
  const mask = second & 0x80 ? 4 : 0;
  const short = second & 0x7f;
  if (short < 126) return 2 + mask + short;
  if (short === 126) return end - at < 4 ? 0 : 4 + mask + data.readUInt16BE(at + 2);
  if (end - at < 10) return 0;
  return 10 + mask + data.readUInt32BE(at + 2) * 2 ** 32 + data.readUInt32BE(at + 6);
}
