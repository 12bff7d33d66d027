/** Host kills in a row, on one guest: each time the host it runs on loses its power, and comes back as the other's backup. */

import { cutAndGoOn, type FailoverReport, protectedPair, type Say, whatIsWrong } from './failover.ts';
import { type HostName, peerOf } from './testbed/pair.ts';

/** Epochs under protection before each kill. */
const EPOCHS = 10;

export interface KillsReport {
  kills: number;
  good: number;
  wrong: string[];
  failovers: FailoverReport[];
}

/** Ends with the first kill that the guest did not outlive. */
export async function killsInARow(kills: number, say: Say): Promise<KillsReport> {
  const report: KillsReport = { kills, good: 0, wrong: [], failovers: [] };
  const pair = await protectedPair(say);
  let primary: HostName = 'a';
  try {
    while (report.good < kills) {
      const failover = await cutAndGoOn(pair, primary, EPOCHS, say);
      report.failovers.push(failover);
      report.wrong.push(...whatIsWrong(failover, EPOCHS));
      if (report.wrong.length > 0) break;
      report.good += 1;
      say(`kill ${report.good} of ${kills} is good`);
      if (report.good === kills) break;
      await pair.powerOn(primary);
      say(`${primary} has its power back`);
      primary = peerOf(primary);
    }
  } catch (error) {
    report.wrong.push((error as Error).message);
    for (const name of ['a', 'b'] as const)
      say(`the agent of ${name} said last:\n${pair.agentLog(name).slice(-3000)}`);
  } finally {
    pair.close();
  }
  return report;
}
