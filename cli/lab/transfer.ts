/** Byte-exact transfers with the guest: guest/transfer.c's stream, made here too, and compared byte by byte. */

import { RomulusError } from '../../shared/errors.ts';
import { Connection } from './connection.ts';
import type { Segment } from './segment.ts';

const TRANSFER_PORT = 7000;
const SEED = 88172645463325252n;
const BLOCK_BYTES = 64 * 1024;
const WORD_BYTES = 8;

/** The first `bytes` of the stream: xorshift64, little endian. */
export function streamBytes(bytes: number): Buffer {
  const words = new BigUint64Array(Math.ceil(bytes / WORD_BYTES));
  let state = SEED;
  for (let i = 0; i < words.length; i++) {
    state ^= BigInt.asUintN(64, state << 13n);
    state ^= state >> 7n;
    state ^= BigInt.asUintN(64, state << 17n);
    words[i] = state;
  }
  return Buffer.from(words.buffer, 0, bytes);
}

/** Receives the stream from the guest and compares it; `onBytes` hears how far it is. Throws where it differs or ends. */
export async function download(
  segment: Segment,
  bytes: number,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const expected = streamBytes(bytes);
  const connection = new Connection(segment, TRANSFER_PORT);
  try {
    await connection.write(`get ${bytes}\n`);
    for (let at = 0; at < bytes; ) {
      const chunk = await connection.read();
      if (!chunk.equals(expected.subarray(at, at + chunk.length))) throw differs('download', at);
      at += chunk.length;
      onBytes(at);
    }
  } finally {
    await connection.close();
  }
}

/** Sends the stream to the guest, which compares it. Throws where it says that it differs. */
export async function upload(
  segment: Segment,
  bytes: number,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const data = streamBytes(bytes);
  const connection = new Connection(segment, TRANSFER_PORT);
  try {
    await connection.write(`put ${bytes}\n`);
    for (let at = 0; at < bytes; at += BLOCK_BYTES) {
      await connection.write(data.subarray(at, at + BLOCK_BYTES));
      onBytes(Math.min(bytes, at + BLOCK_BYTES));
    }
    let said = '';
    while (!said.includes('\n')) said += await connection.read();
    if (said !== 'ok\n') throw differs(`upload (the guest: ${said.trim()})`, 0);
  } finally {
    await connection.close();
  }
}

function differs(what: string, offset: number): RomulusError {
  return new RomulusError('INTERNAL', `${what}: the bytes differ after ${offset}`);
}
