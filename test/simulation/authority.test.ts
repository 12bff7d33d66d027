/** Both authorities under thousands of seeded runs of everything that can go wrong between them. */

import { describe, expect, it } from 'vitest';
import { runSeed } from './run-seed.ts';

const SEEDS = Number(process.env.ROMULUS_SEEDS ?? 10_000);

describe('simulated hosts, network and witness', () => {
  it('keep I1 to I6 at every step and L1 in the end', { timeout: 600_000 }, () => {
    const failed: string[] = [];
    let promotions = 0;
    for (let seed = 0; seed < SEEDS; seed += 1) {
      const result = runSeed(seed);
      promotions += result.promotions;
      if (result.violation !== undefined) failed.push(`--seed ${seed}: ${result.violation}`);
    }
    expect(failed, 'replay with: node --import tsx test/simulation/run.ts --seed N').toEqual([]);
    expect(promotions).toBeGreaterThan(SEEDS / 10);
  });

  it('replay exactly from the same seed', () => {
    for (const seed of [1, 20, 300]) {
      expect(runSeed(seed, { logging: true })).toEqual(runSeed(seed, { logging: true }));
    }
  });
});
