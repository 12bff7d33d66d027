/** The kills of kills.test.ts, as often as asked: `npm run soak:kills -- COUNT`. Prints one JSON document; exit 1 on any failure. */

import { Lab } from '../../cli/lab/lab.ts';
import { Samples } from '../../shared/samples.ts';
import { random } from '../support/synthetic.ts';
import {
  backupCrashPoints,
  killBackup,
  killPrimaryAgent,
  primaryCrashPoints,
  pullPlugAndSwap,
} from './kills.ts';

const count = Number(process.argv[2] ?? 20);
const seed = Number(process.argv[3] ?? Date.now() % 2 ** 31);
const next = random(seed);
const pick = <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)] as T;

const failures: object[] = [];
const running = new Samples(count);
const lab = await Lab.create({ memoryMiB: 128, epochMs: 25, workload: { structureMiB: 16 } });

function judge(what: string, round: number, outcome: object, good: boolean): void {
  if (!good) failures.push({ what, round, outcome });
  process.stderr.write(`\r${what} ${round + 1}/${count}, ${failures.length} failures   `);
}

try {
  await lab.start();
  await lab.protect();
  for (let round = 0; round < count; round++) {
    const outcome = await killBackup(lab, pick(backupCrashPoints), 1 + Math.floor(next() * 60));
    judge(
      'backup agent',
      round,
      outcome,
      outcome.imageWhole && outcome.resumed && outcome.faults.length === 0,
    );
  }
  for (let round = 0; round < count; round++) {
    const outcome = await killPrimaryAgent(lab, pick(primaryCrashPoints), 1 + Math.floor(next() * 30));
    judge('primary agent', round, outcome, outcome.ticked && outcome.faults.length === 0);
  }
  let [from, to] = [lab.primary, lab.backup];
  for (let round = 0; round < count; round++) {
    const outcome = await pullPlugAndSwap(lab, from, to);
    running.add(outcome.decisionToRunningMs);
    judge('host', round, outcome, outcome.imageWhole && outcome.ticked && outcome.faults.length === 0);
    [from, to] = [to, from];
  }
} finally {
  await lab.close({ keep: failures.length > 0 });
}
const decisionToRunningMs = { p50: running.quantile(0.5), p99: running.quantile(0.99) };
console.log(JSON.stringify({ seed, killsOfEach: count, failures, decisionToRunningMs }));
process.exitCode = failures.length > 0 ? 1 : 0;
