import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type EpochBounds, EpochLength } from '../../primary/epoch/epoch-length.ts';

const bounds = fc
  .record({
    minMs: fc.integer({ min: 5, max: 100 }),
    spanMs: fc.integer({ min: 0, max: 5000 }),
    pauseShare: fc.double({ min: 0.01, max: 0.5, noNaN: true }),
    commitMs: fc.option(fc.integer({ min: 1, max: 1000 }), { nil: undefined }),
    windowEpochs: fc.integer({ min: 1, max: 64 }),
  })
  .map(
    ({ minMs, spanMs, commitMs, ...rest }): EpochBounds => ({
      minMs,
      maxMs: minMs + spanMs,
      ...rest,
      ...(commitMs !== undefined && { commitMs }),
    }),
  );

const took = fc.record({
  pauseMs: fc.double({ min: 0, max: 10_000, noNaN: true }),
  commitMs: fc.double({ min: 0, max: 60_000, noNaN: true }),
  inFlight: fc.integer({ min: 1, max: 64 }),
});

/** Feeds the same epoch until the length has settled. */
function settle(of: EpochBounds, epoch: (lengthMs: number) => { pauseMs: number; commitMs: number }): number {
  const length = new EpochLength(of);
  for (let n = 0; n < 400; n++) {
    const { pauseMs, commitMs } = epoch(length.ms);
    length.committed(commitMs);
    length.captured(pauseMs, 1);
  }
  return length.ms;
}

describe('the length of an epoch', () => {
  it('lies within its bounds, and at most doubles or halves, whatever is measured', () => {
    fc.assert(
      fc.property(bounds, fc.array(took, { maxLength: 60 }), (of, epochs) => {
        const length = new EpochLength(of);
        for (const { pauseMs, commitMs, inFlight } of epochs) {
          const before = length.ms;
          length.committed(commitMs);
          length.captured(pauseMs, inFlight);
          expect(length.ms).toBeGreaterThanOrEqual(of.minMs);
          expect(length.ms).toBeLessThanOrEqual(of.maxMs);
          expect(length.ms).toBeLessThanOrEqual(before * 2);
          expect(length.ms).toBeGreaterThanOrEqual(before / 2);
        }
      }),
    );
  });

  it('settles where pauses take their share, for a load that dirties at a steady rate', () => {
    // A pause of 2 ms, and 0.05 ms more for each ms that the epoch ran.
    const pauseOf = (ms: number) => ({ pauseMs: 2 + 0.05 * ms, commitMs: 5 });
    const of = { minMs: 5, maxMs: 1000, pauseShare: 0.1, windowEpochs: 8 };
    const ms = settle(of, pauseOf);
    expect(ms).toBeGreaterThan(36);
    expect(ms).toBeLessThan(44);
    expect(pauseOf(ms).pauseMs / ms).toBeLessThanOrEqual(0.11);
  });

  it('is the shortest for a guest that does nothing', () => {
    const of = { minMs: 10, maxMs: 1000, pauseShare: 0.1, windowEpochs: 8 };
    expect(settle(of, () => ({ pauseMs: 0.5, commitMs: 1 }))).toBe(10);
  });

  it('returns to the shortest after a burst is over', () => {
    const of = { minMs: 10, maxMs: 1000, pauseShare: 0.1, windowEpochs: 8 };
    let epoch = 0;
    expect(settle(of, () => ({ pauseMs: epoch++ < 20 ? 80 : 0.5, commitMs: 1 }))).toBeLessThan(11);
  });

  it('grows when acknowledgements do not keep up', () => {
    const of = { minMs: 5, maxMs: 1000, pauseShare: 0.1, windowEpochs: 4 };
    expect(settle(of, () => ({ pauseMs: 0.1, commitMs: 200 }))).toBeCloseTo(50, 0);
  });

  it('shrinks to keep commits short, for at most twice the share of pauses', () => {
    const load = (ms: number) => ({ pauseMs: 1 + 0.02 * ms, commitMs: 2 * ms });
    const of = { minMs: 5, maxMs: 1000, pauseShare: 0.05, commitMs: 40, windowEpochs: 64 };
    const ms = settle(of, load);
    expect(load(ms).commitMs).toBeLessThanOrEqual(44);
    expect(load(ms).pauseMs / ms).toBeLessThanOrEqual(0.1);
    const strict = settle({ ...of, commitMs: 1 }, load);
    expect(load(strict).pauseMs / strict).toBeLessThanOrEqual(0.11);
  });
});
