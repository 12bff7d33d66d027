import { describe, expect, it } from 'vitest';
import { targets } from '../fuzz/targets.ts';
import { random } from '../support/random.ts';

const RUNS = 400;

describe('damaged input', () => {
  it.each(Object.entries(targets))(
    'of %s is refused with an error of its kind, or decodes',
    async (_name, target) => {
      let refused = 0;
      for (let seed = 1; seed <= RUNS; seed++) if (!(await target(random(seed)))) refused += 1;
      expect(refused).toBeGreaterThan(RUNS / 10);
      // Some damage must get as far as the end: otherwise the decoder behind the first check was never tried.
      expect(refused).toBeLessThan(RUNS);
    },
  );
});
