/** Copies through the engine's binding: sent only when asked for, applied with their epoch, refused when they are two. */

import { describe, expect, it } from 'vitest';
import { CHUNK_HEADROOM_BYTES, type EncodeResult, engine } from '../../native/index.ts';

const PAGES = 600;
const PAGE = 4096;

function guest() {
  const native = engine();
  const memory = native.anonymousMemory(PAGES * PAGE);
  const shadow = native.anonymousMemory(PAGES * PAGE);
  const image = native.anonymousMemory(PAGES * PAGE);
  const encoder = native.createEncoder({ memory, shadow, threads: 2 });
  const dirty = native.createBitmap(PAGES);
  const fill = (page: number, count: number) => {
    const random = Buffer.alloc(count * PAGE);
    for (let i = 0; i < random.length; i += 4) random.writeUInt32LE((Math.random() * 2 ** 32) >>> 0, i);
    memory.write(page * PAGE, random);
    dirty.set(page, count);
  };
  const copy = (from: number, to: number, count: number) => {
    memory.write(to * PAGE, memory.read(from * PAGE, count * PAGE));
    dirty.set(to, count);
  };
  const payloads = (result: EncodeResult) =>
    result.chunks.map(({ buffer, payloadBytes, slab }) => {
      const start = CHUNK_HEADROOM_BYTES;
      const payload = Buffer.from(buffer.subarray(start, start + payloadBytes));
      encoder.release(slab);
      return payload;
    });
  return { native, memory, image, encoder, dirty, fill, copy, payloads };
}

describe('copies of what the backup has', () => {
  it('are sent when asked for, and the image follows', async () => {
    const { native, memory, image, encoder, dirty, fill, copy, payloads } = guest();
    fill(0, 100);
    await native.applyPayloads(image, payloads(await encoder.encode(dirty, 'bytes')), 2);
    expect(encoder.indexBytes).toBe(0);
    while (await encoder.noteShadow(50)) expect(encoder.indexBytes).toBeGreaterThan(0);
    copy(0, 300, 100);
    const result = await encoder.encode(dirty, 'bytes', true);
    // One page in fifty or so has no place that is noted.
    expect(result.copiedPages).toBeGreaterThan(80);
    expect(result.copiedWords).toBe(result.copiedPages * 512);
    expect(result.payloadBytes).toBeLessThan((100 - result.copiedPages) * 4200 + 100 * 64);
    const epoch = payloads(result);
    native.checkEpoch(epoch);
    for (let twice = 0; twice < 2; twice++) await native.applyPayloads(image, epoch, 2);
    expect(await native.firstDifference(memory, image, 1)).toBe(-1);
    expect(await native.digestOf(image, 1)).toBe(encoder.digest);
  });

  it('mark the pages they write to', async () => {
    const { native, encoder, dirty, fill, copy, payloads } = guest();
    fill(0, 10);
    payloads(await encoder.encode(dirty, 'bytes', true));
    copy(0, 300, 10);
    const marked = native.createBitmap(PAGES);
    for (const payload of payloads(await encoder.encode(dirty, 'bytes', true)))
      native.markPages(payload, marked);
    expect([...native.pageNumbers(marked)]).toEqual([300, 301, 302, 303, 304, 305, 306, 307, 308, 309]);
  });

  it('of two payloads are no epoch', async () => {
    const { native, image, encoder, dirty, fill, copy, payloads } = guest();
    fill(0, 10);
    payloads(await encoder.encode(dirty, 'bytes', true));
    const epochs: Buffer[] = [];
    for (const to of [300, 400]) {
      copy(0, to, 10);
      epochs.push(...payloads(await encoder.encode(dirty, 'bytes', true)));
    }
    expect(() => native.checkEpoch(epochs)).toThrow(/EBADMSG/);
    await expect(native.applyPayloads(image, epochs, 1)).rejects.toMatchObject({ code: 'EBADMSG' });
    expect(await native.digestOf(image, 1)).toBe(0n);
  });
});
