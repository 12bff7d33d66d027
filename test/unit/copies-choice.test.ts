/** Looking for copies is used where it pays, given up where it does not, and tried again now and then. */

import { describe, expect, it } from 'vitest';
import { CopiesChoice, type CopyCounts } from '../../shared/wire/copies-choice.ts';

const NOTHING: CopyCounts = { pages: 0, runs: 0, savedBytes: 0, ns: 200_000 };
const MUCH: CopyCounts = { pages: 100, runs: 200, savedBytes: 200_000, ns: 400_000 };
/** A byte on a link of 1 Gb/s, half of it left by compression that takes 4 ns. */
const GIGABIT_NS = 8;

const choiceFor = (byteNs: number) => new CopiesChoice(() => ({ byteNs, atOnce: 1 }));

/** Runs epochs that find what is given; returns in how many of them copies were looked for. */
function run(choice: CopiesChoice, epochs: number, found: CopyCounts, packedShare = 0.5): number {
  let looked = 0;
  for (let i = 0; i < epochs; i++) {
    const whole = 400_000;
    if (choice.next()) {
      looked += 1;
      const payloadBytes = whole - found.savedBytes;
      choice.learn(found, { payloadBytes, packedBytes: payloadBytes * packedShare });
    } else choice.learnPlain({ payloadBytes: whole, packedBytes: whole * 0.5 });
  }
  return looked;
}

describe('the choice to look for copies', () => {
  it('tries at once and goes on where it pays', () => {
    const choice = choiceFor(GIGABIT_NS);
    choice.learnPlain({ payloadBytes: 400_000, packedBytes: 200_000 });
    expect(run(choice, 100, MUCH)).toBe(100);
    expect(choice.status()).toMatchObject({ use: 'on', pages: 10_000, savedBytes: 20_000_000 });
  });

  it('stops after one try where nothing is found, and tries ever more seldom', () => {
    const choice = choiceFor(GIGABIT_NS);
    expect(run(choice, 9, NOTHING)).toBe(8);
    expect(choice.status().use).toBe('off');
    const tries = [100, 1000, 10_000].map((epochs) => run(choice, epochs, NOTHING) / 8);
    expect(tries[0]).toBeGreaterThanOrEqual(1);
    expect(tries[2]).toBeLessThan(8);
  });

  it('is begun by a later try when the load has changed', () => {
    const choice = choiceFor(GIGABIT_NS);
    run(choice, 200, NOTHING);
    run(choice, 3000, MUCH);
    expect(choice.status().use).toBe('on');
  });

  it('is given up when nothing is found any more', () => {
    const choice = choiceFor(GIGABIT_NS);
    run(choice, 100, MUCH);
    run(choice, 60, NOTHING);
    expect(choice.status().use).toBe('off');
  });

  it('does not even try where a page is sent as fast as a copy is found', () => {
    const choice = choiceFor(0.8);
    expect(choice.mayPay).toBe(false);
    expect(run(choice, 1000, MUCH)).toBe(0);
  });

  it('counts what compression would have saved anyway for nothing', () => {
    const choice = choiceFor(GIGABIT_NS);
    choice.learnPlain({ payloadBytes: 400_000, packedBytes: 200_000 });
    // Half of the bytes left the deltas, but what stayed compresses to as much as before.
    expect(run(choice, 9, { ...MUCH, ns: 150_000 }, 1)).toBe(8);
    expect(choice.status().use).toBe('off');
  });
});
