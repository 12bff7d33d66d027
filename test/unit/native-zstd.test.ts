import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { engine } from '../../native/index.ts';

const native = engine();

/** Bytes with some repetition in them. */
const payload = fc
  .tuple(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.integer({ min: 1, max: 50 }))
  .map(([part, times]) => Buffer.concat(new Array(times).fill(part)));

describe('compression', () => {
  it('gives back what went in, at every level', async () => {
    const level = fc.integer({ min: -7, max: 6 });
    await fc.assert(
      fc.asyncProperty(payload, level, fc.boolean(), async (bytes, level, longWindow) => {
        const packed = Buffer.alloc(bytes.length + 64);
        const { bytes: length } = await native.compress(bytes, packed, { level, longWindow });
        const back = Buffer.alloc(bytes.length);
        expect(await native.decompress(packed.subarray(0, length), back)).toBe(bytes.length);
        expect(back.equals(bytes)).toBe(true);
      }),
    );
  });

  it('resolves to 0 when it does not save what the caller wants saved', async () => {
    const noise = Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 2654435761) >>> 13));
    expect(await native.compress(noise, Buffer.alloc(64))).toMatchObject({ bytes: 0 });
    expect((await native.compress(Buffer.alloc(4096), Buffer.alloc(64))).bytes).toBeGreaterThan(0);
  });

  it('refuses damaged bytes, bytes that follow, and content longer than the room for it', async () => {
    const packed = Buffer.alloc(200);
    const { bytes: length } = await native.compress(Buffer.alloc(5000, 'romulus '), packed);
    const frame = packed.subarray(0, length);
    const refusal = { code: 'EBADMSG' };
    await expect(native.decompress(frame, Buffer.alloc(4999))).rejects.toMatchObject(refusal);
    await expect(native.decompress(frame.subarray(1), Buffer.alloc(5000))).rejects.toMatchObject(refusal);
    await expect(native.decompress(packed.subarray(0, length + 1), Buffer.alloc(5000))).rejects.toMatchObject(
      refusal,
    );
    await expect(native.compress(frame, packed, { level: 99 })).rejects.toMatchObject({ code: 'EINVAL' });
  });
});
