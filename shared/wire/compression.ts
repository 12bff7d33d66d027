/** Compression of one chunk's payload: applied where it pays, undone only within named limits. */

import * as snappy from 'snappy';
import { CHUNK_HEADROOM_BYTES, engine } from '../../native/index.ts';
import { RomulusError } from '../errors.ts';
import { MAX_PAYLOAD_BYTES } from '../limits.ts';
import type { CodecChoice, Tier } from './codec-choice.ts';
import type { FramedPayload } from './frame.ts';
import { Codec, type CodecId } from './messages.ts';
import { takeSlab } from './slabs.ts';

/** Below this a frame is one or two packets either way. */
const MIN_COMPRESS_BYTES = 2048;
/** Compressed must be at most this share of raw to be worth the receiver's time. */
const WORTHWHILE_SHARE = 0.9;

export interface PackedPayload extends FramedPayload {
  codec: CodecId;
  rawBytes: number;
}

interface Compression {
  /** Not there where the payload should go as it is. */
  packed?: PackedPayload;
  /** What it took, where the codec tells; waiting for the other payloads of an epoch is not in it. */
  took?: { cpuNs: number; wallNs: number };
}

/** Compresses with the tier given, where that saves enough. */
export async function compressPayload(payload: FramedPayload, tier: Tier): Promise<Compression> {
  if (tier === 'none' || payload.bytes < MIN_COMPRESS_BYTES) return {};
  const raw = payload.buffer.subarray(payload.offset, payload.offset + payload.bytes);
  const most = Math.floor(payload.bytes * WORTHWHILE_SHARE);
  return tier === 'snappy' ? packSnappy(raw, most) : packZstd(raw, most, tier === 'zstd2' ? 2 : 1);
}

/** Compresses with the tier that is best now, or to be learnt from, and learns from it. */
export async function compressBest(
  codecs: CodecChoice,
  payload: FramedPayload,
): Promise<PackedPayload | undefined> {
  const tier = codecs.next(payload.bytes);
  const began = performance.now();
  const { packed, took } = await compressPayload(payload, tier);
  const wallNs = (performance.now() - began) * 1e6;
  codecs.learn(tier, payload.bytes, packed?.bytes ?? payload.bytes, took ?? { cpuNs: wallNs, wallNs });
  return packed;
}

async function packSnappy(raw: Buffer, most: number): Promise<Compression> {
  // copyOutputData: otherwise the result is external memory that the collector does not see, and the process grows by gigabytes.
  const packed = await snappy.compress(raw, { copyOutputData: true });
  if (packed.length > most) return {};
  return { packed: { ...framed(packed), codec: Codec.snappy, rawBytes: raw.length } };
}

/** Room to compress into; a new buffer each time would cost page faults as long as the compression. */
const scratch: Buffer[] = [];

async function packZstd(raw: Buffer, most: number, level: number): Promise<Compression> {
  const room = scratch.pop() ?? Buffer.allocUnsafeSlow(MAX_PAYLOAD_BYTES);
  try {
    const target = room.subarray(0, Math.min(most, room.length));
    const { bytes, ...took } = await engine().compress(raw, target, { level });
    if (bytes === 0) return { took };
    const packed = { ...framed(room.subarray(0, bytes)), codec: Codec.zstd, rawBytes: raw.length };
    return { packed, took };
  } finally {
    scratch.push(room);
  }
}

/** The payload in a buffer of its own, of just its size, so that the slab it lies in can be used again. */
export function detachPayload(payload: FramedPayload): PackedPayload {
  const raw = payload.buffer.subarray(payload.offset, payload.offset + payload.bytes);
  const buffer = Buffer.allocUnsafe(CHUNK_HEADROOM_BYTES + raw.length);
  raw.copy(buffer, CHUNK_HEADROOM_BYTES);
  return {
    buffer,
    offset: CHUNK_HEADROOM_BYTES,
    bytes: raw.length,
    crc32c: payload.crc32c,
    codec: Codec.none,
    rawBytes: raw.length,
  };
}

function framed(data: Buffer): FramedPayload {
  const buffer = Buffer.allocUnsafe(CHUNK_HEADROOM_BYTES + data.length);
  data.copy(buffer, CHUNK_HEADROOM_BYTES);
  return { buffer, offset: CHUNK_HEADROOM_BYTES, bytes: data.length, crc32c: engine().crc32c(data) };
}

/** Undoes compressPayload; throws WIRE_LIMIT or WIRE_FRAME before anything larger than allowed is allocated. */
export async function decompressPayload(codec: CodecId, rawBytes: number, payload: Buffer): Promise<Buffer> {
  if (rawBytes > MAX_PAYLOAD_BYTES) {
    throw new RomulusError(
      'WIRE_LIMIT',
      `a payload of ${rawBytes} bytes is over the limit of ${MAX_PAYLOAD_BYTES}`,
    );
  }
  if (codec === Codec.none) {
    if (payload.length !== rawBytes) throw mismatch(payload.length, rawBytes);
    return payload;
  }
  if (codec === Codec.zstd) return unpackZstd(rawBytes, payload);
  if (codec !== Codec.snappy) {
    throw new RomulusError('WIRE_VERSION', `this agent cannot undo codec ${codec}`, {
      hint: 'install the same release of Romulus on both hosts',
    });
  }
  const announced = snappyLength(payload);
  if (announced !== rawBytes) throw mismatch(announced, rawBytes);
  try {
    return snappy.uncompressSync(payload, { copyOutputData: true, asBuffer: true }) as Buffer;
  } catch (cause) {
    throw new RomulusError('WIRE_FRAME', 'malformed chunk: its snappy data does not decode', { cause });
  }
}

async function unpackZstd(rawBytes: number, payload: Buffer): Promise<Buffer> {
  const raw = takeSlab(rawBytes).subarray(0, rawBytes);
  let bytes: number;
  try {
    bytes = await engine().decompress(payload, raw);
  } catch (cause) {
    throw new RomulusError('WIRE_FRAME', 'malformed chunk: its zstd data does not decode', { cause });
  }
  if (bytes !== rawBytes) throw mismatch(bytes, rawBytes);
  return raw;
}

/** The length a snappy block announces in its first bytes (little-endian base-128). */
function snappyLength(payload: Buffer): number {
  let length = 0;
  for (let i = 0; i < 5; i++) {
    const byte = payload[i];
    if (byte === undefined) break;
    length += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return length;
  }
  throw new RomulusError('WIRE_FRAME', 'malformed chunk: its snappy data has no length');
}

function mismatch(found: number, named: number): RomulusError {
  return new RomulusError('WIRE_FRAME', `malformed chunk: ${found} bytes where its head names ${named}`);
}
