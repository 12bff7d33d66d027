/** Compression of one chunk: both codecs bring back what went in, and lie about nothing. */

import { describe, expect, it } from 'vitest';
import { CHUNK_HEADROOM_BYTES, engine } from '../../native/index.ts';
import { CodecChoice } from '../../shared/wire/codec-choice.ts';
import {
  compressBest,
  compressPayload,
  decompressPayload,
  detachPayload,
  type PackedPayload,
} from '../../shared/wire/compression.ts';
import { LinkRate } from '../../shared/wire/link-rate.ts';
import { Codec } from '../../shared/wire/messages.ts';
import { random } from '../support/random.ts';

function payload(data: Buffer) {
  return {
    buffer: Buffer.concat([Buffer.alloc(CHUNK_HEADROOM_BYTES), data]),
    offset: CHUNK_HEADROOM_BYTES,
    bytes: data.length,
    crc32c: engine().crc32c(data),
  };
}

async function packed(
  data: Buffer,
  tier: 'snappy' | 'zstd1' | 'zstd2',
): Promise<PackedPayload & { wire: Buffer }> {
  const { packed: result } = await compressPayload(payload(data), tier);
  if (result === undefined) throw new Error('it did not pay, though it must');
  return { ...result, wire: result.buffer.subarray(result.offset, result.offset + result.bytes) };
}

function noise(bytes: number): Buffer {
  const next = random(1);
  return Buffer.from(Array.from({ length: bytes }, () => Math.floor(next() * 256)));
}

describe.each(['snappy', 'zstd1', 'zstd2'] as const)('compression of a chunk with %s', (tier) => {
  it('brings back what went in', async () => {
    const data = Buffer.from('the same words over and over '.repeat(1000));
    const { codec, rawBytes, bytes, crc32c, wire } = await packed(data, tier);
    expect(bytes).toBeLessThan(data.length / 4);
    expect(crc32c).toBe(engine().crc32c(wire));
    expect((await decompressPayload(codec, rawBytes, wire)).equals(data)).toBe(true);
  });

  it('leaves alone what does not shrink, and what is small anyway', async () => {
    expect((await compressPayload(payload(noise(100_000)), tier)).packed).toBeUndefined();
    expect((await compressPayload(payload(Buffer.alloc(100)), tier)).packed).toBeUndefined();
  });

  it('refuses a length that is not what the head names, and data that is cut', async () => {
    const { codec, wire } = await packed(Buffer.alloc(100_000, 'x'), tier);
    await expect(decompressPayload(codec, 99_999, wire)).rejects.toMatchObject({ code: 'WIRE_FRAME' });
    await expect(decompressPayload(codec, 100_001, wire)).rejects.toMatchObject({ code: 'WIRE_FRAME' });
    await expect(decompressPayload(codec, 2 ** 31, wire)).rejects.toMatchObject({ code: 'WIRE_LIMIT' });
    const cut = wire.subarray(0, Math.floor(wire.length / 2));
    await expect(decompressPayload(codec, 100_000, cut)).rejects.toMatchObject({ code: 'WIRE_FRAME' });
  });

  it('keeps payloads apart that are compressed at once', async () => {
    const all = Array.from({ length: 8 }, (_, i) => Buffer.alloc(50_000 + i, `payload ${i} `));
    const results = await Promise.all(all.map((data) => packed(data, tier)));
    for (const [i, { codec, rawBytes, wire }] of results.entries()) {
      expect((await decompressPayload(codec, rawBytes, wire)).equals(all[i] ?? Buffer.alloc(0))).toBe(true);
    }
  });
});

describe('an epoch of many chunks', () => {
  it('takes their waiting for each other for no busy processor', async () => {
    const codecs = new CodecChoice(new LinkRate(1e9));
    const digits = Buffer.from(noise(256 * 1024).toString('hex'));
    await Promise.all(Array.from({ length: 64 }, () => compressBest(codecs, payload(digits))));
    expect(codecs.best).toBe('zstd1');
  });
});

describe('a chunk that is not compressed', () => {
  it('is copied out of its slab unchanged', async () => {
    const data = Buffer.from('chunk');
    const detached = detachPayload(payload(data));
    expect(detached).toMatchObject({ codec: Codec.none, rawBytes: 5, crc32c: engine().crc32c(data) });
    expect(detached.buffer.subarray(detached.offset).equals(data)).toBe(true);
    expect((await compressPayload(payload(Buffer.alloc(100_000)), 'none')).packed).toBeUndefined();
  });

  it('must be as long as its head names', async () => {
    await expect(decompressPayload(Codec.none, 4, Buffer.alloc(5))).rejects.toThrow(
      '5 bytes where its head names 4',
    );
  });
});
