import { describe, expect, it } from 'vitest';
import { CHUNK_HEADROOM_BYTES, engine } from '../../native/index.ts';
import { compressPayload, decompressPayload, detachPayload } from '../../shared/wire/compression.ts';
import { Codec } from '../../shared/wire/messages.ts';
import { random } from '../support/synthetic.ts';

function payload(data: Buffer) {
  return {
    buffer: Buffer.concat([Buffer.alloc(CHUNK_HEADROOM_BYTES), data]),
    offset: CHUNK_HEADROOM_BYTES,
    bytes: data.length,
    crc32c: engine().crc32c(data),
  };
}

describe('compression of a chunk', () => {
  it('brings back what went in', async () => {
    const data = Buffer.from('the same words over and over '.repeat(1000));
    const packed = await compressPayload(payload(data));
    if (packed === undefined) throw new Error('it did not pay, though it must');
    expect(packed.bytes).toBeLessThan(data.length / 4);
    const wire = packed.buffer.subarray(packed.offset, packed.offset + packed.bytes);
    expect(packed.crc32c).toBe(engine().crc32c(wire));
    expect(decompressPayload(packed.codec, packed.rawBytes, wire).equals(data)).toBe(true);
  });

  it('leaves alone what does not shrink, and what is small anyway', async () => {
    const next = random(1);
    const noise = Buffer.from(Array.from({ length: 100_000 }, () => Math.floor(next() * 256)));
    expect(await compressPayload(payload(noise))).toBeUndefined();
    expect(await compressPayload(payload(Buffer.alloc(100)))).toBeUndefined();
  });

  it('copies a chunk out of its slab unchanged', () => {
    const data = Buffer.from('chunk');
    const detached = detachPayload(payload(data));
    expect(detached).toMatchObject({ codec: Codec.none, rawBytes: 5, crc32c: engine().crc32c(data) });
    expect(detached.buffer.subarray(detached.offset).equals(data)).toBe(true);
  });

  it('refuses a length that is not what the head names, before allocating it', async () => {
    const packed = await compressPayload(payload(Buffer.alloc(100_000, 'x')));
    if (packed === undefined) throw new Error('it did not pay, though it must');
    const wire = packed.buffer.subarray(packed.offset);
    expect(() => decompressPayload(Codec.snappy, 99_999, wire)).toThrow(
      '100000 bytes where its head names 99999',
    );
    expect(() => decompressPayload(Codec.snappy, 2 ** 31, wire)).toThrow('over the limit');
    expect(() => decompressPayload(Codec.snappy, 100_000, wire.subarray(0, 20))).toThrow('does not decode');
    expect(() => decompressPayload(Codec.none, 4, Buffer.alloc(5))).toThrow('5 bytes where its head names 4');
  });
});
