import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { engine } from '../../native/index.ts';
import { PAGE_BYTES } from '../../shared/vm.ts';
import { payloadOf, perform, stores } from './engine-arbitraries.ts';

const native = engine();
const PAGES = 20;
const BYTES = PAGES * PAGE_BYTES;

/** A sound payload that a guest's stores led to. */
async function soundPayload(epoch: Parameters<typeof perform>[1][]): Promise<Buffer> {
  const memory = native.anonymousMemory(BYTES);
  const encoder = native.createEncoder({ memory, shadow: native.anonymousMemory(BYTES), threads: 1 });
  const dirty = native.createBitmap(PAGES);
  dirty.setAll();
  for (const store of epoch) perform(memory, store);
  const { chunks } = await encoder.encode(dirty);
  return Buffer.concat(chunks.map(payloadOf));
}

/** Applies to an image full of ones and says what came of it. */
async function tryApply(payload: Buffer): Promise<'refused' | 'applied'> {
  const image = native.anonymousMemory(BYTES);
  image.write(0, Buffer.alloc(BYTES, 1));
  const before = image.read(0, BYTES);
  const digest = await native.digestOf(image, 1);
  try {
    const { digestDelta, pages } = await native.applyPayloads(image, [payload], 1);
    expect(native.checkPayload(payload, PAGES)).toBe(pages);
    expect(await native.digestOf(image, 1)).toBe(BigInt.asUintN(64, digest + digestDelta));
    return 'applied';
  } catch (thrown) {
    expect(thrown).toMatchObject({ code: 'EBADMSG' });
    expect(() => native.checkPayload(payload, PAGES)).toThrow(/EBADMSG/);
    expect(image.read(0, BYTES).equals(before)).toBe(true);
    return 'refused';
  }
}

describe('a payload from a stranger', () => {
  it('with any bytes changed is refused without effect, or applied with a digest that tells', async () => {
    const change = fc.record({ at: fc.nat(), byte: fc.integer({ min: 0, max: 255 }) });
    await fc.assert(
      fc.asyncProperty(
        stores(PAGES),
        fc.array(change, { minLength: 1, maxLength: 4 }),
        async (epoch, changes) => {
          const payload = await soundPayload(epoch);
          fc.pre(payload.length > 0);
          for (const { at, byte } of changes) payload[at % payload.length] = byte;
          await tryApply(payload);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('cut short or with bytes added is refused', async () => {
    await fc.assert(
      fc.asyncProperty(
        stores(PAGES),
        fc.nat(),
        fc.uint8Array({ minLength: 1, maxLength: 9 }),
        async (epoch, cut, extra) => {
          const payload = await soundPayload(epoch);
          fc.pre(payload.length > 0);
          expect(await tryApply(payload.subarray(0, cut % payload.length))).toBe('refused');
          expect(await tryApply(Buffer.concat([payload, extra]))).toBe('refused');
        },
      ),
      { numRuns: 50 },
    );
  });

  /** A payload of one record, from its head, masks and data. */
  function payload(head: number[], masks: number[] = [], dataBytes = 0, pages = 1): Buffer {
    const header = Buffer.alloc(20);
    header.write('RDP2', 'latin1');
    header.writeUInt32LE(pages, 4);
    header.writeUInt32LE(dataBytes, 8);
    header.writeUInt32LE(masks.length, 12);
    header.writeUInt32LE(head.length, 16);
    return Buffer.concat([header, Buffer.alloc(dataBytes, 5), Buffer.from(masks), Buffer.from(head)]);
  }

  it.each([
    ['plain words', payload([0, 1, 1, 0], [1], 8)],
    ['repeats', payload([0, 1, 1, 1], [3, 2], 8)],
    ['a repeat of the zero word before the page', payload([0, 1, 1, 1], [1, 1])],
    ['bytes', payload([0, 1, 1, 2], [3, 1, 6], 3)],
    ['nothing but zero bytes', payload([0, 1, 1, 3], [3, 2, 0])],
    ['a fresh page', payload([3, 1, 1, 3], [3, 0, 0, 1], 1)],
    ['lines in two groups', payload([0, 0x82, 1, 0x80, 0], [1, 1], 16)],
  ])('with %s is applied', async (_what, bytes) => {
    expect(await tryApply(bytes)).toBe('applied');
  });

  it.each([
    ['another version', Buffer.from(payload([1]).toString('latin1').replace('RDP2', 'RDP1'), 'latin1')],
    ['a page at the end of the image', payload([(PAGES << 2) | 1])],
    ['a padded number', payload([0x81, 0x00])],
    ['a number without end', payload([0xff, 0xff, 0xff, 0xff, 0xff, 0x01])],
    ['an empty set of groups', payload([0, 0])],
    ['an empty group of lines', payload([0, 1, 0, 0], [1], 8)],
    ['no lines for its groups', payload([0, 3, 1])],
    ['no kinds for its lines', payload([0, 1, 1], [1], 8)],
    ['kinds beyond its lines', payload([0, 1, 1, 4], [1], 8)],
    ['an empty word mask', payload([0, 1, 3, 0], [1, 0], 8)],
    ['fewer word masks than lines', payload([0, 1, 3, 0], [1], 8)],
    ['repeats that did not change', payload([0, 1, 1, 1], [1, 2], 8)],
    ['a kind for repeats without any', payload([0, 1, 1, 1], [1, 0], 8)],
    ['no mask of repeats', payload([0, 1, 1, 3], [1])],
    ['fewer byte masks than words', payload([0, 1, 1, 2], [3, 1], 1)],
    ['an empty mask of changed bytes', payload([0, 1, 1, 2], [1, 0])],
    ['less data than its masks name', payload([0, 1, 1, 0], [3], 8)],
    ['more data than its masks name', payload([0, 1, 1, 0], [1], 16)],
    ['less data than its byte masks name', payload([0, 1, 1, 2], [1, 3], 1)],
    ['more masks than its lines need', payload([0, 1, 1, 0], [1, 1], 8)],
    ['more head than its pages need', payload([1, 1])],
    ['more pages than its head names', payload([1], [], 0, 2)],
    ['a whole page without its data', payload([2], [], PAGE_BYTES - 8)],
  ])('with %s is refused', async (_what, bytes) => {
    expect(await tryApply(bytes)).toBe('refused');
  });

  it('longer than the limit is refused', () => {
    expect(() => native.checkPayload(Buffer.alloc(2 * 1024 * 1024 + 1), PAGES)).toThrow(/EBADMSG/);
  });
});
