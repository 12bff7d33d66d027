/** The kills of kills.test.ts, as often as asked: `npm run soak:kills -- COUNT [SEED]`. Prints one JSON document; exit 1 on any failure. */

import type { AgentProcess } from '../../cli/lab/agent-process.ts';
import { Lab } from '../../cli/lab/lab.ts';
import { Samples } from '../../shared/samples.ts';
import {
  backupCrashPoints,
  killBackup,
  killPrimaryAgent,
  primaryCrashPoints,
  pullPlugAndSwap,
} from './kills.ts';
import { Soak } from './soak-frame.ts';

const soak = new Soak(20);
const { count, failures, next } = soak;
const pick = <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)] as T;

const kills = { backupAgent: 0, primaryAgent: 0, host: 0 };
const running = new Samples(Math.max(1, count));
const lab = await Lab.create({ memoryMiB: 128, epochMs: 25, workload: { structureMiB: 16 } });

function judge(what: keyof typeof kills, outcome: object, good: boolean): void {
  kills[what] += 1;
  if (!good) failures.push({ what, round: kills[what], outcome });
  process.stderr.write(`\r${JSON.stringify(kills)}, ${failures.length} failures   `);
}

/** One kill of each kind; the host that runs the guest is the last to go, so that roles swap once a round. */
async function round(from: AgentProcess, to: AgentProcess): Promise<void> {
  const backup = await killBackup(lab, from, to, pick(backupCrashPoints), 1 + Math.floor(next() * 60));
  judge('backupAgent', backup, backup.imageWhole && backup.resumed && backup.faults.length === 0);
  const primary = await killPrimaryAgent(lab, from, pick(primaryCrashPoints), 1 + Math.floor(next() * 30));
  judge('primaryAgent', primary, primary.ticked && primary.faults.length === 0);
  const host = await pullPlugAndSwap(lab, from, to);
  running.add(host.decisionToRunningMs);
  judge('host', host, host.imageWhole && host.ticked && host.faults.length === 0);
}

await soak.run(lab, async () => {
  let [from, to] = [lab.primary, lab.backup];
  while (kills.host < count && !soak.stopped) {
    await round(from, to);
    [from, to] = [to, from];
  }
});
const decisionToRunningMs = { p50: running.quantile(0.5), p99: running.quantile(0.99) };
soak.report({ kills, decisionToRunningMs });
