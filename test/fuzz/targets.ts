/** Decoders of foreign bytes, each with sound input to damage; a target throws when a decoder does what it must not. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Journal } from '../../backup/image/journal.ts';
import { engine } from '../../native/index.ts';
import { RomulusError } from '../../shared/errors.ts';
import { MAX_PAYLOAD_BYTES } from '../../shared/limits.ts';
import { compressPayload, decompressPayload } from '../../shared/wire/compression.ts';
import { decodeFrame, encodeFrame } from '../../shared/wire/frame.ts';
import {
  Codec,
  Kind,
  parseAck,
  parseChunk,
  parseCommit,
  parseError,
  parseHello,
  parseSync,
  parseWelcome,
} from '../../shared/wire/messages.ts';
import { mutate } from './mutate.ts';

type Next = () => number;

/** True when the damaged input was accepted, false when it was refused as it should be. */
export type Target = (next: Next) => Promise<boolean>;

const HEADS: Record<number, Record<string, unknown>> = {
  [Kind.hello]: {
    protocol: [1, 1],
    node: 'a',
    vm: 'web',
    term: 3,
    lineage: '0b1c7f9e-6f0e-4a58-9b8e-0f6a3f1f2a11',
    acked: 5,
    geometry: { arch: 'x86_64', ramBytes: 4096, cpus: 1, hypervisor: 'replay 1' },
    spec: { name: 'web', hypervisor: 'replay', memoryBytes: 4096, cpus: 1 },
  },
  [Kind.welcome]: { protocol: 1, node: 'b', term: 3, lineage: null, committed: 0 },
  [Kind.sync]: { lineage: '0b1c7f9e-6f0e-4a58-9b8e-0f6a3f1f2a11' },
  [Kind.chunk]: { epoch: 7, region: 0, codec: 0, rawBytes: 100 },
  [Kind.commit]: {
    term: 3,
    epoch: 7,
    previous: 6,
    chunks: 1,
    stateBytes: 100,
    digest: '0000000000000000',
    stateDigest: '0000000000000000',
  },
  [Kind.ack]: { term: 3, epoch: 7, promiseMs: 500 },
  [Kind.error]: { code: 'INTERNAL', message: 'no' },
};

const parsers: Record<number, (head: Record<string, unknown>) => unknown> = {
  [Kind.hello]: parseHello,
  [Kind.welcome]: parseWelcome,
  [Kind.sync]: parseSync,
  [Kind.chunk]: (head) => parseChunk(head, MAX_PAYLOAD_BYTES),
  [Kind.commit]: parseCommit,
  [Kind.ack]: parseAck,
  [Kind.error]: parseError,
};

function pick<T>(from: readonly T[], next: Next): T {
  return from[Math.floor(next() * from.length)] as T;
}

function soundFrame(next: Next): Buffer {
  const kind = Number(pick(Object.keys(HEADS), next));
  return encodeFrame(kind, Math.floor(next() * 100), HEADS[kind] ?? {});
}

/** Makes the checksums right again, so that damage gets past them. */
function resealed(frame: Buffer): Buffer {
  if (frame.length < 24) return frame;
  const headBytes = Math.min(frame.readUInt32LE(4), frame.length - 24);
  frame.writeUInt32LE(headBytes, 4);
  frame.writeUInt32LE(frame.length - 24 - headBytes, 8);
  frame.writeUInt32LE(engine().crc32c(frame.subarray(24 + headBytes)), 16);
  const covered = Buffer.concat([frame.subarray(0, 12), frame.subarray(20, 24 + headBytes)]);
  frame.writeUInt32LE(engine().crc32c(covered), 12);
  return frame;
}

/** Runs a decoder: it may throw a RomulusError of one of these kinds, and nothing else. */
async function refusesWith(codes: RegExp, decode: () => unknown): Promise<boolean> {
  try {
    await decode();
    return true;
  } catch (thrown) {
    if (thrown instanceof RomulusError && codes.test(thrown.code)) return false;
    throw thrown;
  }
}

const frames: Target = (next) => {
  const damaged = mutate(soundFrame(next), next);
  const message = next() < 0.7 ? resealed(damaged) : damaged;
  return refusesWith(/^WIRE_|^TERM_|^CONFIG_|^PEER_/, () => {
    const { kind, head } = decodeFrame(message);
    parsers[kind]?.(head);
  });
};

const journal: Target = (next) => {
  const dir = mkdtempSync(join(tmpdir(), 'romulus-fuzz-'));
  try {
    // Damage to the file, or to one frame whose checksums were made right again: the second gets past them.
    const frame = soundFrame(next);
    const middle = next() < 0.5 ? frame : resealed(mutate(frame, next));
    const whole = Buffer.concat([soundFrame(next), middle, soundFrame(next)]);
    writeFileSync(join(dir, 'epoch-1.committed'), middle === frame ? mutate(whole, next) : whole);
    return refusesWith(/^IMAGE_CORRUPT$/, () => new Journal(dir, 'memory').read(1)).finally(() =>
      rmSync(dir, { recursive: true }),
    );
  } catch (thrown) {
    rmSync(dir, { recursive: true, force: true });
    throw thrown;
  }
};

const chunks: Target = async (next) => {
  const raw = Buffer.alloc(2048 + Math.floor(next() * 20_000));
  // Few values, long repeats: what does not compress would never reach a decompressor whole.
  for (let at = 0; at < raw.length; ) {
    const end = Math.min(raw.length, at + 1 + Math.floor(next() * 40));
    raw.fill(Math.floor(next() * 8), at, end);
    at = end;
  }
  const tier = pick(['snappy', 'zstd1'] as const, next);
  const framed = { buffer: raw, offset: 0, bytes: raw.length, crc32c: 0 };
  const { packed } = await compressPayload(framed, tier);
  if (packed === undefined) throw new Error('the input did not compress: nothing is tried');
  const sound = packed.buffer.subarray(packed.offset, packed.offset + packed.bytes);
  const codec = tier === 'snappy' ? Codec.snappy : Codec.zstd;
  const named = next() < 0.9 ? raw.length : Math.floor(next() * 2 ** 32);
  return refusesWith(/^WIRE_/, async () => {
    const back = await decompressPayload(codec, named, mutate(sound, next));
    if (back.length !== named) throw new Error(`${back.length} bytes where ${named} were named`);
  });
};

export const targets = { frames, journal, chunks } as const;
