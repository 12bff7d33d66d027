import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { engine } from '../../native/index.ts';
import { PAGE_BYTES } from '../../shared/vm.ts';
import { payloadOf, perform, stores } from './engine-arbitraries.ts';
import { crcOracle, digestOracle, encodeOracle } from './engine-oracle.ts';

const native = engine();
const PAGES = 40;
const BYTES = PAGES * PAGE_BYTES;

/** Several epochs of stores. */
const epochs = fc.array(stores(PAGES), { minLength: 1, maxLength: 5 });

describe('encoding an epoch', () => {
  const grains = fc.constantFrom('words' as const, 'bytes' as const);

  it('gives, on one thread, byte for byte the payload that FORMAT.md prescribes', async () => {
    await fc.assert(
      fc.asyncProperty(epochs, grains, async (history, grain) => {
        const memory = native.anonymousMemory(BYTES);
        const shadow = native.anonymousMemory(BYTES);
        const encoder = native.createEncoder({ memory, shadow, threads: 1 });
        const dirty = native.createBitmap(PAGES);
        for (const epoch of history) {
          const before = memory.read(0, BYTES);
          for (const store of epoch) {
            perform(memory, store);
            dirty.set(store.page);
          }
          const pages = [...new Set(epoch.map((store) => store.page))].sort((a, b) => a - b);
          const expected = encodeOracle(before, memory.read(0, BYTES), pages, grain);
          const result = await encoder.encode(dirty, grain);
          expect(result.dirtyPages).toBe(pages.length);
          expect(dirty.count()).toBe(0);
          expect(result.chunks.length).toBe(expected === undefined ? 0 : 1);
          for (const chunk of result.chunks) {
            const payload = payloadOf(chunk);
            expect(payload.equals(expected ?? Buffer.alloc(0))).toBe(true);
            expect(chunk.crc32c).toBe(crcOracle(payload));
            expect(native.checkPayload(payload, PAGES)).toBe(chunk.pages);
            encoder.release(chunk.slab);
          }
          const named = result.zeroPages + result.wholePages + result.deltaPages;
          expect(named + result.unchangedPages).toBe(pages.length);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('leads, applied epoch after epoch, to the same memory, shadow and digest', async () => {
    await fc.assert(
      fc.asyncProperty(epochs, fc.integer({ min: 1, max: 4 }), grains, async (history, threads, grain) => {
        const memory = native.anonymousMemory(BYTES);
        const shadow = native.anonymousMemory(BYTES);
        const image = native.anonymousMemory(BYTES);
        const encoder = native.createEncoder({ memory, shadow, threads });
        const dirty = native.createBitmap(PAGES);
        let digest = 0n;
        for (const epoch of history) {
          for (const store of epoch) {
            perform(memory, store);
            dirty.set(store.page);
          }
          const { chunks } = await encoder.encode(dirty, grain);
          const payloads = chunks.map(payloadOf);
          const applied = await native.applyPayloads(image, payloads, threads);
          digest = BigInt.asUintN(64, digest + applied.digestDelta);
          const again = await native.applyPayloads(image, payloads, threads);
          expect(again.digestDelta).toBe(0n);
          for (const { slab } of chunks) encoder.release(slab);
        }
        const final = memory.read(0, BYTES);
        expect(image.read(0, BYTES).equals(final)).toBe(true);
        expect(shadow.read(0, BYTES).equals(final)).toBe(true);
        expect(digest).toBe(digestOracle(final));
        expect(encoder.digest).toBe(digest);
        expect(await native.digestOf(image, threads)).toBe(digest);
      }),
      { numRuns: 60 },
    );
  });

  it('leads to the same memory and digest with room for only some copies, or none', async () => {
    await fc.assert(
      fc.asyncProperty(
        epochs,
        fc.integer({ min: 0, max: PAGES - 1 }),
        grains,
        async (history, copies, grain) => {
          const memory = native.anonymousMemory(BYTES);
          const image = native.anonymousMemory(BYTES);
          const encoder = native.createEncoder({
            memory,
            threads: 1,
            ...(copies > 0 && { shadow: native.anonymousMemory(copies * PAGE_BYTES) }),
          });
          const dirty = native.createBitmap(PAGES);
          let digest = 0n;
          for (const epoch of history) {
            for (const store of epoch) {
              perform(memory, store);
              dirty.set(store.page);
            }
            const { chunks } = await encoder.encode(dirty, grain);
            const applied = await native.applyPayloads(image, chunks.map(payloadOf), 1);
            digest = BigInt.asUintN(64, digest + applied.digestDelta);
            for (const { slab } of chunks) encoder.release(slab);
          }
          const final = memory.read(0, BYTES);
          expect(image.read(0, BYTES).equals(final)).toBe(true);
          expect(digest).toBe(digestOracle(final));
          expect(encoder.digest).toBe(digest);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('never makes a payload larger than the pages and their heads', async () => {
    await fc.assert(
      fc.asyncProperty(stores(PAGES, 200), async (epoch) => {
        const memory = native.anonymousMemory(BYTES);
        const encoder = native.createEncoder({ memory, shadow: native.anonymousMemory(BYTES), threads: 1 });
        const dirty = native.createBitmap(PAGES);
        for (const store of epoch) perform(memory, store);
        dirty.setAll();
        const { payloadBytes, wholePages, deltaPages, zeroPages } = await encoder.encode(dirty);
        const heads = 20 + (wholePages + zeroPages + deltaPages) * 5;
        expect(payloadBytes).toBeLessThanOrEqual(heads + (wholePages + deltaPages) * PAGE_BYTES);
      }),
      { numRuns: 30 },
    );
  });
});

describe('the digest', () => {
  it('of an all-zero range is 0', async () => {
    expect(await native.digestOf(native.anonymousMemory(BYTES), 2)).toBe(0n);
  });

  it('differs when two words trade places', async () => {
    const place = fc.nat(BYTES / 8 - 1);
    const word64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    await fc.assert(
      fc.asyncProperty(place, place, word64, word64, async (i, j, a, b) => {
        fc.pre(i !== j && a !== b);
        const word = (value: bigint) => {
          const bytes = Buffer.alloc(8);
          bytes.writeBigUInt64LE(value);
          return bytes;
        };
        const memory = native.anonymousMemory(BYTES);
        memory.write(i * 8, word(a));
        memory.write(j * 8, word(b));
        const before = await native.digestOf(memory, 1);
        memory.write(i * 8, word(b));
        memory.write(j * 8, word(a));
        expect(await native.digestOf(memory, 1)).not.toBe(before);
      }),
      { numRuns: 50 },
    );
  });
});
