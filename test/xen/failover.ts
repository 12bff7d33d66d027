/** The two-host failover: a guest protected from a to b, the power plug of a, and the same guest going on on b. */

import { setTimeout as delay } from 'node:timers/promises';
import type { FailoverResult, VmStatus } from '../../shared/status.ts';
import { ticksOf, WORKLOAD } from './testbed/guest.ts';
import { XenPair } from './testbed/pair.ts';

/** Ticks come every second, epochs every one to four in the emulator, and up to eight of them may be under way. */
const MAX_TICKS_BACK = 40;
const PROTECT_LIMIT_MS = 900_000;

export interface FailoverReport {
  guest: 'xen';
  /** The epoch the standby went on from. */
  epochs: number;
  epochMs: number;
  /** As the primary's agent measured it: from the request to suspend until the guest ran again. */
  pauseMs: { p50: number; p99: number };
  dirtyPagesP50: number;
  rawBytes: number;
  wireBytes: number;
  /** Whether the domain stood built on b before the cut. */
  standby: 'warm' | 'cold';
  /** From the command `failover` to the guest's processors running. */
  decisionToRunningMs: number;
  /** From the power cut until the standby ran, command line and all. */
  rtoMs: number;
  tickBeforeCut: number;
  firstTickAfter: number;
  lastTickAfter: number;
  guestCheck: string;
  guestClockErrorS: number;
}

/** Boots the pair, protects for at least `epochs` epochs, cuts a's power, fails over, and asks the guest itself. */
export async function twoHostFailover(epochs: number, say: (line: string) => void): Promise<FailoverReport> {
  const pair = await XenPair.boot(1000);
  try {
    say('both hosts are up');
    await Promise.all([pair.startAgent(pair.a), pair.startAgent(pair.b)]);
    say('both agents are up');
    await pair.a.run(`xl create /testbed/guest.cfg 'extra="${WORKLOAD}"'`, 600_000);
    await pair.verb(pair.a, 'protect guest --to b');
    let status = await protectedFor(pair, 1, say);
    say('the guest is PROTECTED');
    status = await protectedFor(pair, epochs, say);
    const before = await ticksOf(pair.a);
    const domains = await pair.b.run('xl list');
    status = await pair.verb<VmStatus>(pair.a, 'status guest');

    const cutMs = performance.now();
    pair.a.kill();
    say(`cut a's power at tick ${before.tick}`);
    const result = await pair.verb<FailoverResult>(pair.b, 'failover guest --force --fenced-by testbed');
    const rtoMs = Math.round(performance.now() - cutMs);
    const first = await ticksOf(pair.b);
    await delay(10_000);
    const last = await ticksOf(pair.b);
    return {
      guest: 'xen',
      epochs: result.epoch,
      epochMs: status.epochMs,
      pauseMs: { p50: status.pauseMs?.p50 ?? 0, p99: status.pauseMs?.p99 ?? 0 },
      dirtyPagesP50: status.dirtyPages?.p50 ?? 0,
      rawBytes: status.rawBytes,
      wireBytes: status.wireBytes,
      standby: domains.includes('guest--incoming') ? 'warm' : 'cold',
      decisionToRunningMs: result.decisionToRunningMs,
      rtoMs,
      tickBeforeCut: before.tick,
      firstTickAfter: first.tick,
      lastTickAfter: last.tick,
      guestCheck: last.check,
      guestClockErrorS: Math.abs(last.clockS - Date.now() / 1000),
    };
  } catch (error) {
    say(`a's console ends:\n${pair.a.consoleTail()}`);
    throw error;
  } finally {
    await pair.close();
  }
}

/** Resolves when so many epochs are acknowledged. The first connection may fail in a slow emulator; the agent tries again. */
async function protectedFor(pair: XenPair, epochs: number, say: (line: string) => void): Promise<VmStatus> {
  const deadline = performance.now() + PROTECT_LIMIT_MS;
  for (;;) {
    const status = await pair.verb<VmStatus>(pair.a, 'status guest');
    if (status.ackedEpoch >= epochs && status.state === 'PROTECTED') return status;
    say(`epoch ${status.ackedEpoch} is acknowledged, ${status.state}`);
    if (performance.now() > deadline) throw new Error(`the guest is ${status.state}: ${status.reason}`);
    await delay(5_000);
  }
}

/** What of a report contradicts that the guest went on as one life; nothing, if all is well. */
export function whatIsWrong(report: FailoverReport): string[] {
  const { guestCheck, tickBeforeCut, firstTickAfter, lastTickAfter } = report;
  const wrong: string[] = [];
  if (report.standby !== 'warm') wrong.push('no domain stood ready on b');
  if (guestCheck === 'CORRUPT') wrong.push("the guest's own check fails on b");
  if (firstTickAfter < tickBeforeCut - MAX_TICKS_BACK)
    wrong.push(`the guest went on from tick ${firstTickAfter}, long before ${tickBeforeCut}`);
  if (lastTickAfter <= firstTickAfter) wrong.push('the guest stands still on b');
  return wrong;
}
