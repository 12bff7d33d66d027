/** Rounds of power cuts under a database in the guest, as the test runs one and the soak some dozen. */

import type { AgentProcess } from '../../cli/lab/agent-process.ts';
import { checkDatabase, crashDatabase, DatabaseLedger, Pgbench } from '../../cli/lab/database-check.ts';
import { Lab } from '../../cli/lab/lab.ts';
import type { Segment } from '../../cli/lab/segment.ts';
import { readHeartbeats } from '../../cli/lab/serial.ts';

const ANSWER_MS = 180_000;
const POLL_MS = 50;
/** Commits each ledger gets acknowledged before the cut, and after it. */
const COMMITS = 5;

export interface DatabaseOutcome {
  /** Commits that clients were told of, over all ledgers. */
  acknowledged: number;
  /** What is wrong after the failover, and after a crash of the database on top of it; empty when nothing is. */
  wrong: string[];
  connectionsSurvived: boolean;
  decisionToRunningMs: number;
}

export function databaseLab(segment: Segment): Promise<Lab> {
  return Lab.create({
    epochMs: 25,
    memoryMiB: 256,
    workload: { structureMiB: 4, pagesPerStep: 4, stepsPerSecond: 20, database: true },
    segment,
  });
}

/**
 * Clients write; after `cutAfterMs` the host `from` loses power and `to` takes over. Then everything is checked twice: as
 * it goes on, and recovered from the disk alone.
 */
export async function cutUnderDatabase(
  lab: Lab,
  from: AgentProcess,
  to: AgentProcess,
  cutAfterMs: number,
): Promise<DatabaseOutcome> {
  const segment = lab.segment as Segment;
  const ledgers = [
    await DatabaseLedger.open(segment, 1, ANSWER_MS),
    await DatabaseLedger.open(segment, 2, ANSWER_MS),
  ];
  const pgbench = new Pgbench(segment, 2);
  const wrong: string[] = [];
  let connectionsSurvived = true;
  let decisionToRunningMs = 0;
  try {
    for (const ledger of ledgers) ledger.start();
    await commits(ledgers, COMMITS);
    await new Promise((resolve) => setTimeout(resolve, cutAfterMs));
    decisionToRunningMs = (await lab.failOver(from, to)).decisionToRunningMs;
    await commits(ledgers, COMMITS);
    for (const ledger of ledgers) await ledger.stop();
    if (!pgbench.running)
      wrong.push(`pgbench ended: ${pgbench.log.trim().split('\n').slice(-5).join(' | ')}`);
  } catch (thrown) {
    connectionsSurvived = false;
    wrong.push(`a client: ${String(thrown)}`);
  } finally {
    await pgbench.stop();
    for (const ledger of ledgers) await ledger.close();
  }
  wrong.push(...(await checkDatabase(segment, ledgers, ANSWER_MS)));
  await crashDatabase(segment);
  wrong.push(...(await checkDatabase(segment, ledgers, ANSWER_MS)).map((each) => `after a crash: ${each}`));
  for (const side of ['a', 'b'] as const) wrong.push(...readHeartbeats(lab.serialLog(side)).faults);
  const acknowledged = ledgers.reduce((sum, ledger) => sum + ledger.acknowledged, 0);
  return { acknowledged, wrong, connectionsSurvived, decisionToRunningMs };
}

/** Waits until each ledger got so many more commits acknowledged. */
async function commits(ledgers: readonly DatabaseLedger[], more: number): Promise<void> {
  const wanted = ledgers.map((ledger) => ledger.acknowledged + more);
  const deadline = performance.now() + ANSWER_MS;
  while (ledgers.some((ledger, i) => ledger.acknowledged < (wanted[i] as number))) {
    if (performance.now() > deadline) throw new Error(`no ${more} commits within ${ANSWER_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
