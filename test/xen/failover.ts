/** The two-host failover: a guest protected from one host to the other, the power plug of the first, and the same guest going on on the second. */

import type { FailoverResult, VmStatus } from '../../shared/status.ts';
import { createGuest, GuestConsole, type GuestOptions } from './testbed/guest.ts';
import { type HostName, type PairOptions, peerOf, XenPair } from './testbed/pair.ts';
import { StatusWatch } from './testbed/status-watch.ts';

const EPOCH_MS = 500;
/** Ticks come every second, epochs every one to four in the emulator, and up to eight of them may be under way. */
const MAX_TICKS_BACK = 40;
/** A clock that nobody set after the failover lags by as long as that took. */
const MAX_CLOCK_ERROR_S = 5;
/** Some minutes more than a quiet machine takes. */
const PROTECT_LIMIT_MS = 360_000;

export type Say = (line: string) => void;

export interface FailoverReport {
  guest: 'xen';
  /** The epoch the standby went on from, of `protectedEpochs` since it was first PROTECTED. */
  epochs: number;
  protectedEpochs: number;
  /** How often protection was lost while both hosts lived, if slowly. */
  falseLosses: number;
  epochMs: number;
  /** As the primary's agent measured it: from the request to suspend until the guest ran again. */
  pauseMs: { p50: number; p99: number };
  dirtyPagesP50: number;
  rawBytes: number;
  wireBytes: number;
  /** Whether the domain stood built on the other host before the cut. */
  standby: 'warm' | 'cold';
  /** From the command `failover` to the guest's processors running. */
  decisionToRunningMs: number;
  /** From the power cut until the standby ran, command line and all. */
  rtoMs: number;
  tickBeforeCut: number;
  firstTickAfter: number;
  lastTickAfter: number;
  /** Of a check that the guest began and ended after the cut. */
  guestCheck: string;
  guestClockErrorS: number;
}

/** Boots the pair and the guest, protects it from a to b for at least `epochs` epochs, cuts a's power, fails over, asks the guest. */
export async function twoHostFailover(epochs: number, say: Say): Promise<FailoverReport> {
  const pair = await protectedPair(say);
  try {
    return await cutAndGoOn(pair, 'a', epochs, say);
  } catch (error) {
    say(`what the agents said last:\n${pair.agentLog('a').slice(-2000)}\n${pair.agentLog('b').slice(-2000)}`);
    throw error;
  } finally {
    pair.close();
  }
}

/** Both hosts and their agents up, the guest running on a, and its protection ordered. */
export async function protectedPair(say: Say, options: PairOptions & GuestOptions = {}): Promise<XenPair> {
  const pair = await XenPair.start(EPOCH_MS, options);
  try {
    say('both hosts and their agents are up');
    await createGuest(pair.host('a'), options);
    await pair.verb('a', 'protect guest --to b');
    return pair;
  } catch (error) {
    pair.close();
    throw error;
  }
}

/** Waits until the guest is PROTECTED from `primary` and `epochs` more are acknowledged, then pulls the plug of that host. */
export async function cutAndGoOn(
  pair: XenPair,
  primary: HostName,
  epochs: number,
  say: Say,
): Promise<FailoverReport> {
  const backup = peerOf(primary);
  const primaryConsole = GuestConsole.of(pair.host(primary));
  const watch = new StatusWatch(pair.host(primary), say);
  const first = await untilProtected(watch);
  say(`the guest is PROTECTED on ${primary} at epoch ${first.ackedEpoch}`);
  const enough = first.ackedEpoch + epochs;
  const status = await watch.until((now) => isProtected(now) && now.ackedEpoch >= enough, PROTECT_LIMIT_MS);
  const domains = await pair.host(backup).run('xl list');
  const before = await primaryConsole.tick();
  const falseLosses = pair.agentLog(primary).split('"kind":"backup-lost"').length - 1;

  const cutMs = performance.now();
  pair.host(primary).kill();
  say(`cut ${primary}'s power at epoch ${status.ackedEpoch}, tick ${before.tick}`);
  const result = await pair.verb<FailoverResult>(backup, 'failover guest --force --fenced-by testbed');
  const rtoMs = Math.round(performance.now() - cutMs);
  const console = GuestConsole.of(pair.host(backup));
  const after = await console.tick();
  say(`the guest goes on on ${backup} from epoch ${result.epoch}, tick ${after.tick}`);
  const last = await console.checkedAfter(after);
  return {
    guest: 'xen',
    epochs: result.epoch,
    protectedEpochs: result.epoch - first.ackedEpoch,
    falseLosses,
    epochMs: status.epochMs,
    pauseMs: { p50: status.pauseMs?.p50 ?? 0, p99: status.pauseMs?.p99 ?? 0 },
    dirtyPagesP50: status.dirtyPages?.p50 ?? 0,
    rawBytes: status.rawBytes,
    wireBytes: status.wireBytes,
    standby: domains.includes('guest--incoming') ? 'warm' : 'cold',
    decisionToRunningMs: result.decisionToRunningMs,
    rtoMs,
    tickBeforeCut: before.tick,
    firstTickAfter: after.tick,
    lastTickAfter: last.tick,
    guestCheck: last.check,
    guestClockErrorS: await console.clockErrorS(),
  };
}

export function untilProtected(watch: StatusWatch): Promise<VmStatus> {
  return watch.until(isProtected, PROTECT_LIMIT_MS);
}

function isProtected({ state, role }: VmStatus): boolean {
  return role === 'primary' && state === 'PROTECTED';
}

/** What of a report contradicts that the guest went on as one life; nothing, if all is well. */
export function whatIsWrong(report: FailoverReport, epochs: number): string[] {
  const { guestCheck, tickBeforeCut, firstTickAfter, falseLosses, guestClockErrorS } = report;
  const wrong: string[] = [];
  if (report.protectedEpochs < epochs) wrong.push(`it went on from ${report.protectedEpochs} epochs only`);
  if (falseLosses > 0) wrong.push(`protection was lost ${falseLosses} times while both hosts lived`);
  if (report.standby !== 'warm') wrong.push('no domain stood ready on the other host');
  if (guestCheck !== 'sound') wrong.push(`the guest's own check says ${guestCheck}`);
  if (firstTickAfter < tickBeforeCut - MAX_TICKS_BACK)
    wrong.push(`the guest went on from tick ${firstTickAfter}, long before ${tickBeforeCut}`);
  if (guestClockErrorS > MAX_CLOCK_ERROR_S) wrong.push(`the guest's clock is off by ${guestClockErrorS} s`);
  return wrong;
}
