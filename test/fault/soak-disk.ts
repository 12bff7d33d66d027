/** Power cuts under a database, as often as asked: `npm run soak:disk -- COUNT [SEED]`. Prints one JSON document; exit 1 on any failure. */

import { Segment } from '../../cli/lab/segment.ts';
import { Samples } from '../../shared/samples.ts';
import { random } from '../support/random.ts';
import { cutUnderDatabase, databaseLab } from './disk.ts';

const count = Number(process.argv[2] ?? 10);
const seed = Number(process.argv[3] ?? Date.now() % 2 ** 31);
const next = random(seed);
/** Longest time from the first commits to the cut. */
const MAX_CUT_MS = 3000;

const failures: object[] = [];
const running = new Samples(Math.max(1, count));
let rounds = 0;
let acknowledged = 0;
let stopped = false;
process.on('SIGTERM', () => {
  stopped = true; // the round under way is finished, and what was done is reported
});

const lab = await databaseLab(Segment.create());
try {
  await lab.start();
  await lab.protect();
  let [from, to] = [lab.primary, lab.backup];
  while (rounds < count && !stopped) {
    const outcome = await cutUnderDatabase(lab, from, to, next() * MAX_CUT_MS);
    rounds += 1;
    acknowledged = outcome.acknowledged;
    running.add(outcome.decisionToRunningMs);
    if (outcome.wrong.length > 0 || !outcome.connectionsSurvived) failures.push({ round: rounds, outcome });
    process.stderr.write(
      `\r${rounds} cuts, ${acknowledged} commits acknowledged, ${failures.length} failures   `,
    );
    if (rounds < count && !stopped) await lab.swap(from, to);
    [from, to] = [to, from];
  }
} catch (thrown) {
  failures.push({ what: 'the soak itself', error: String(thrown) });
} finally {
  await lab.close({ keep: failures.length > 0 });
}
const decisionToRunningMs = { p50: running.quantile(0.5), p99: running.quantile(0.99) };
console.log(JSON.stringify({ seed, cuts: rounds, acknowledged, failures, decisionToRunningMs }));
process.exitCode = failures.length > 0 ? 1 : 0;
