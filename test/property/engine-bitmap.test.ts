import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { engine } from '../../native/index.ts';

const native = engine();

/** Pages set by a list of runs, as a plain array. */
function model(pages: number, runs: [number, number][]): boolean[] {
  const bits = new Array<boolean>(pages).fill(false);
  for (const [first, count] of runs) bits.fill(true, first, Math.min(pages, first + count));
  return bits;
}

const bitmapCase = fc.integer({ min: 1, max: 1000 }).chain((pages) => {
  const run = fc.tuple(fc.nat(pages - 1), fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 200 })));
  return fc.record({ pages: fc.constant(pages), runs: fc.array(run, { maxLength: 30 }) });
});

describe('a dirty bitmap', () => {
  it('lists exactly the pages that were set, as maximal ascending runs', () => {
    fc.assert(
      fc.property(bitmapCase, ({ pages, runs }) => {
        const bitmap = native.createBitmap(pages);
        for (const [first, count] of runs) bitmap.set(first, Math.min(count, pages - first));
        const bits = model(pages, runs);
        expect(bitmap.count()).toBe(bits.filter(Boolean).length);
        const listed = new Array<boolean>(pages).fill(false);
        const pairs = bitmap.runs();
        let end = -1;
        for (let i = 0; i < pairs.length; i += 2) {
          const first = pairs[i] ?? 0;
          const count = pairs[i + 1] ?? 0;
          expect(first).toBeGreaterThan(end);
          expect(count).toBeGreaterThan(0);
          listed.fill(true, first, first + count);
          end = first + count;
        }
        expect(listed).toEqual(bits);
        expect(bits.every((bit, page) => bitmap.test(page) === bit)).toBe(true);
      }),
    );
  });

  it('merges another by set union', () => {
    fc.assert(
      fc.property(bitmapCase, bitmapCase, (a, b) => {
        const pages = Math.min(a.pages, b.pages);
        const inside = ([first]: [number, number]) => first < pages;
        const left = native.createBitmap(pages);
        const right = native.createBitmap(pages);
        for (const [first, count] of a.runs.filter(inside)) left.set(first, Math.min(count, pages - first));
        for (const [first, count] of b.runs.filter(inside)) right.set(first, Math.min(count, pages - first));
        left.or(right);
        const union = model(pages, [...a.runs, ...b.runs].filter(inside));
        expect(union.every((bit, page) => left.test(page) === bit)).toBe(true);
      }),
    );
  });

  it('takes words as they lie in memory and drops bits beyond its last page', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 100 }), fc.nat(7), (words, missing) => {
        const pages = words.length * 8 - missing;
        const bitmap = native.createBitmap(pages);
        bitmap.setAll();
        bitmap.load(words);
        for (let page = 0; page < pages; page++) {
          expect(bitmap.test(page)).toBe((((words[page >> 3] ?? 0) >> (page & 7)) & 1) === 1);
        }
        let set = 0;
        for (let page = 0; page < pages; page++) set += bitmap.test(page) ? 1 : 0;
        expect(bitmap.count()).toBe(set);
      }),
    );
  });

  it('refuses pages outside its range', () => {
    const bitmap = native.createBitmap(10);
    expect(() => bitmap.set(10)).toThrow(RangeError);
    expect(() => bitmap.set(5, 6)).toThrow(RangeError);
    expect(() => bitmap.test(-1)).toThrow(RangeError);
    expect(() => bitmap.set(1.5)).toThrow(RangeError);
    expect(() => bitmap.load(Buffer.alloc(9))).toThrow(RangeError);
    expect(() => native.createBitmap(0)).toThrow(/EINVAL/);
    expect(() => bitmap.or({} as never)).toThrow(TypeError);
  });
});
