/** Memory that large messages are received and decompressed into: given out again once they are done with, and else left to the collector. */

import { MAX_PAYLOAD_BYTES } from '../limits.ts';

/** A chunk with its head, and the WebSocket header before it. */
export const SLAB_BYTES = MAX_PAYLOAD_BYTES + 64 * 1024;
/** Kept for later, by all connections of this process together: with fewer, a busy backup makes half of them anew. */
const MAX_SPARES = 24;
/** Slabs that were spare for so long are given up. */
const IDLE_MS = 10_000;

const spares: Buffer[] = [];
/** The fewest there were since `trim` came last. */
let fewest = 0;
let trimming: NodeJS.Timeout | undefined;
/** Slabs given out, by what their views have in common. */
const lent = new WeakMap<ArrayBufferLike, Buffer>();

/** What is smaller shares memory with others of its kind. */
const MIN_SLAB_BYTES = 16 * 1024;

/** Room for so many bytes, or more than that; its content is undefined. */
export function takeSlab(bytes: number): Buffer {
  if (bytes < MIN_SLAB_BYTES) return Buffer.allocUnsafe(bytes);
  if (bytes > SLAB_BYTES) return Buffer.allocUnsafeSlow(bytes);
  const slab = spares.pop() ?? Buffer.allocUnsafeSlow(SLAB_BYTES);
  fewest = Math.min(fewest, spares.length);
  lent.set(slab.buffer, slab);
  return slab;
}

/**
 * Nothing reads this message any more: the slab it lies in, if it does, will be written over. Whoever forgets to say so
 * costs an allocation; whoever says so too early lets the next message damage this one.
 */
export function releaseMessage(message: Buffer): void {
  const slab = lent.get(message.buffer);
  if (slab === undefined || !lent.delete(slab.buffer)) return;
  if (spares.length >= MAX_SPARES) return;
  spares.push(slab);
  trimming ??= setInterval(trim, IDLE_MS).unref();
}

function trim(): void {
  spares.splice(0, fewest);
  fewest = spares.length;
  if (fewest > 0) return;
  clearInterval(trimming);
  trimming = undefined;
}
