/** What a replayed guest has for CPU and device state: small, different each epoch, and recognisable at failover. */

import { engine } from '../../native/index.ts';

const STATE_BYTES = 2048;
const MAGIC = 'ROMULUSR';

/** The state after `epochs` epochs of the trace: a counter, text that changes with it, and a checksum. */
export function replayState(epochs: number): Buffer {
  const state = Buffer.alloc(STATE_BYTES);
  state.write(MAGIC, 0, 'latin1');
  state.writeDoubleLE(epochs, 8);
  state.write(`replayed up to epoch ${epochs}; `.repeat(8), 24, 'latin1');
  state.writeUInt32LE(engine().crc32c(state.subarray(24)), 16);
  return state;
}

/** The epoch a state belongs to; undefined if it is not one. */
export function replayedEpochs(state: Buffer): number | undefined {
  if (state.length !== STATE_BYTES || state.toString('latin1', 0, MAGIC.length) !== MAGIC) return undefined;
  if (state.readUInt32LE(16) !== engine().crc32c(state.subarray(24))) return undefined;
  return state.readDoubleLE(8);
}
