/** Every partition of partitions.ts, so many rounds: `npm run soak:partitions -- ROUNDS [SEED]`. Prints one JSON document; exit 1 on any failure. */

import { partitions } from './partitions.ts';
import { Soak } from './soak-frame.ts';
import { Stage } from './stage.ts';

/** Light enough that several of these soaks run beside each other, with a seed each. */
const SETTING = {
  silenceMs: 1000,
  epochMs: 100,
  workload: { structureMiB: 8, pagesPerStep: 8, stepsPerSecond: 20 },
};

const soak = new Soak(1);
const { count, failures, next } = soak;
let played = 0;
/** How often each was played. */
const each: Record<string, number> = {};
/** Soaks that are ended early begin with different ones. */
const first = soak.seed % partitions.length;
const inOrder = [...partitions.slice(first), ...partitions.slice(0, first)];
let moved = 0;

const stage = await Stage.open(SETTING);
try {
  for (let round = 1; round <= count && !soak.stopped; round++) {
    for (const { name, play } of inOrder) {
      if (soak.stopped) break;
      const { on } = await stage.roles();
      const before = stage.twoActive;
      await play(stage, next);
      const runs = await stage.recovered();
      played += 1;
      each[name] = (each[name] ?? 0) + 1;
      if (runs !== on) moved += 1;
      const twoActive = stage.twoActive - before;
      const faults = stage.faults();
      if (twoActive > 0 || faults.length > 0) failures.push({ round, name, twoActive, faults });
      process.stderr.write(`\r${played} partitions, ${moved} moved, ${failures.length} failures   `);
    }
  }
} catch (thrown) {
  failures.push({ what: 'the soak itself', error: String(thrown) });
} finally {
  await stage.close();
}
const { twoActive, samples } = stage;
soak.report({ partitions: partitions.length, played, moved, twoActive, samples, each });
