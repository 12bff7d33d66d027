import { describe, expect, it } from 'vitest';
import { CHUNK_HEADROOM_BYTES, engine } from '../../native/index.ts';
import { PAGE_BYTES } from '../../shared/vm.ts';

const native = engine();
const GiB = 2 ** 30;

function guest(sizeBytes: number, options: { threads?: number; slabBytes?: number; maxSlabs?: number } = {}) {
  const memory = native.anonymousMemory(sizeBytes);
  const shadow = native.anonymousMemory(sizeBytes);
  const encoder = native.createEncoder({ memory, shadow, threads: 2, ...options });
  return { memory, shadow, encoder, dirty: native.createBitmap(sizeBytes / PAGE_BYTES) };
}

describe('an encoder', () => {
  it('that runs out of slabs leaves the rest dirty, and goes on when some are released', async () => {
    const { memory, encoder, dirty } = guest(2 ** 20, { slabBytes: 65536, maxSlabs: 3 });
    const image = native.anonymousMemory(2 ** 20);
    for (let at = 0; at < 2 ** 20; at += 8) memory.write(at, Buffer.from(`${at}`.padStart(8, '0')));
    dirty.setAll();
    let encoded = 0;
    for (let complete = false, calls = 0; !complete; calls++) {
      expect(calls).toBeLessThan(100);
      const result = await encoder.encode(dirty);
      complete = result.complete;
      encoded += result.dirtyPages;
      expect(dirty.count()).toBe(256 - encoded);
      const payloads = result.chunks.map((chunk) =>
        chunk.buffer.subarray(CHUNK_HEADROOM_BYTES, CHUNK_HEADROOM_BYTES + chunk.payloadBytes),
      );
      await native.applyPayloads(image, payloads, 2);
      for (const { slab } of result.chunks) encoder.release(slab);
      expect(encoder.freeSlabs).toBe(3);
    }
    expect(image.read(0, 2 ** 20).equals(memory.read(0, 2 ** 20))).toBe(true);
  });

  it('fills one chunk with a sparse epoch, whatever its number of threads', async () => {
    const { memory, encoder, dirty } = guest(2 ** 24, { threads: 8 });
    for (let page = 0; page < 400; page++) {
      memory.write(page * 7 * PAGE_BYTES, Buffer.from([1]));
      dirty.set(page * 7);
    }
    expect((await encoder.encode(dirty)).chunks).toHaveLength(1);
  });

  it('gives the same Buffer for the same slab, epoch after epoch', async () => {
    const { memory, encoder, dirty } = guest(2 ** 20);
    const buffers = new Set<Buffer>();
    for (let epoch = 0; epoch < 20; epoch++) {
      memory.write(0, Buffer.from([epoch + 1]));
      dirty.set(0);
      for (const chunk of (await encoder.encode(dirty)).chunks) {
        buffers.add(chunk.buffer);
        encoder.release(chunk.slab);
      }
    }
    expect(buffers.size).toBe(1);
  });

  it('refuses a second encode, and use of its bitmap, while one runs', async () => {
    const { encoder, dirty } = guest(2 ** 26);
    dirty.setAll();
    const running = encoder.encode(dirty);
    expect(() => dirty.set(1)).toThrow(/EBUSY/);
    await expect(encoder.encode(native.createBitmap(2 ** 14))).rejects.toMatchObject({ code: 'EBUSY' });
    await running;
    dirty.set(1);
  });

  it('refuses a shadow larger than memory, a bitmap of another size, and slabs not taken', async () => {
    const memory = native.anonymousMemory(8192);
    const other = native.anonymousMemory(12_288);
    expect(() => native.createEncoder({ memory, shadow: other, threads: 1 })).toThrow(/EINVAL/);
    const shadow = native.anonymousMemory(8192);
    expect(() => native.createEncoder({ memory, shadow, threads: 0 })).toThrow(RangeError);
    expect(() => native.createEncoder({ memory, shadow, threads: 1, slabBytes: 2 ** 30 })).toThrow(
      RangeError,
    );
    const encoder = native.createEncoder({ memory, shadow, threads: 1 });
    await expect(encoder.encode(native.createBitmap(3))).rejects.toMatchObject({ code: 'EINVAL' });
    expect(() => encoder.release(0)).toThrow(/EINVAL/);
    encoder.close();
    await expect(encoder.encode(native.createBitmap(2))).rejects.toMatchObject({ code: 'EBADF' });
  });

  it('may be closed while it encodes; the chunks in hand stay readable', async () => {
    const { memory, shadow, encoder, dirty } = guest(2 ** 24);
    memory.write(5, Buffer.from('still here'));
    dirty.set(0);
    const [chunk] = (await encoder.encode(dirty)).chunks;
    dirty.setAll();
    const running = encoder.encode(dirty);
    encoder.close();
    memory.close();
    shadow.close();
    await running;
    expect(chunk?.buffer.includes('still')).toBe(true);
  });

  it('counts pages and bytes of a sparse 64 GiB guest without wrapping', async () => {
    const { memory, shadow, encoder, dirty } = guest(64 * GiB);
    const places = [0, 4 * GiB - 8, 4 * GiB, 5 * GiB + 24, 32 * GiB + 4096, 64 * GiB - 8];
    for (const place of places) {
      memory.write(place, Buffer.from('romulus!'));
      dirty.set(Math.floor(place / PAGE_BYTES));
    }
    expect([...dirty.runs()].filter((_, i) => i % 2 === 0)).toEqual([
      0,
      2 ** 20 - 1,
      5 * 2 ** 18,
      8 * 2 ** 20 + 1,
      16 * 2 ** 20 - 1,
    ]);
    const result = await encoder.encode(dirty);
    expect(result).toMatchObject({ complete: true, dirtyPages: 6, deltaPages: 6, changedWords: 6 });
    for (const place of places) expect(shadow.read(place, 8).toString()).toBe('romulus!');
    const [chunk] = result.chunks;
    const payload = chunk?.buffer.subarray(CHUNK_HEADROOM_BYTES, CHUNK_HEADROOM_BYTES + chunk.payloadBytes);
    const image = native.anonymousMemory(64 * GiB);
    const applied = await native.applyPayloads(image, [payload ?? Buffer.alloc(0)], 2);
    expect(applied.digestDelta).toBe(encoder.digest);
    for (const place of places) expect(image.read(place, 8).toString()).toBe('romulus!');
  });
});
