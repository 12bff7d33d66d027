/** Power cuts under a database, as often as asked: `npm run soak:disk -- COUNT [SEED]`. Prints one JSON document; exit 1 on any failure. */

import { Segment } from '../../cli/lab/segment.ts';
import { Samples } from '../../shared/samples.ts';
import { cutUnderDatabase, databaseLab } from './disk.ts';
import { Soak } from './soak-frame.ts';

/** Longest time from the first commits to the cut. */
const MAX_CUT_MS = 3000;

const soak = new Soak(10);
const { count, failures } = soak;
const running = new Samples(Math.max(1, count));
let rounds = 0;
let acknowledged = 0;

const lab = await databaseLab(Segment.create());
await soak.run(lab, async () => {
  let [from, to] = [lab.primary, lab.backup];
  while (rounds < count && !soak.stopped) {
    const outcome = await cutUnderDatabase(lab, from, to, soak.next() * MAX_CUT_MS);
    rounds += 1;
    acknowledged = outcome.acknowledged;
    running.add(outcome.decisionToRunningMs);
    if (outcome.wrong.length > 0 || !outcome.connectionsSurvived) failures.push({ round: rounds, outcome });
    process.stderr.write(
      `\r${rounds} cuts, ${acknowledged} commits acknowledged, ${failures.length} failures   `,
    );
    if (rounds < count && !soak.stopped) await lab.swap(from, to);
    [from, to] = [to, from];
  }
});
const decisionToRunningMs = { p50: running.quantile(0.5), p99: running.quantile(0.99) };
soak.report({ cuts: rounds, acknowledged, decisionToRunningMs });
