/** Kills of real agents and guests, as the tests run them a few times and the soak some hundred times. */

import type { AgentProcess } from '../../cli/lab/agent-process.ts';
import { type Lab, VM } from '../../cli/lab/lab.ts';
import { readHeartbeats } from '../../cli/lab/serial.ts';
import type { AgentEvent } from '../../shared/status.ts';

/** Every named place in the backup's side of the protocol where a kill -9 is tried. */
export const backupCrashPoints = [
  'backup.chunk-staged',
  'backup.before-commit',
  'backup.committed',
  'backup.acked',
  'backup.half-applied',
  'backup.applied',
] as const;

/** The same on the primary's side; the guest must go on every time. */
export const primaryCrashPoints = [
  'primary.paused',
  'primary.dirty-taken',
  'primary.captured',
  'primary.chunks-sent',
  'primary.commit-sent',
] as const;

export interface KillOutcome {
  /** The image is exactly the memory of the epoch its record names. */
  imageWhole: boolean;
  /** The session went on without a new full copy. */
  resumed: boolean;
  faults: string[];
}

/** An agent that is down comes back and dies at the `count`-th passage of a crash point, or by a plain kill -9 after `ms`. */
export async function killBackup(
  lab: Lab,
  primary: AgentProcess,
  backup: AgentProcess,
  point: string,
  count: number,
): Promise<KillOutcome> {
  const syncs: AgentEvent[] = [];
  const stop = new AbortController();
  const watching = (async () => {
    for await (const event of primary.client.events(stop.signal))
      if (event.kind === 'synced') syncs.push(event);
  })().catch(() => {}); // ends with the abort below
  await backup.end('SIGKILL');
  await backup.start({ ROMULUS_CRASH_AT: `${point}:${count}` });
  await backup.ended();
  await backup.start();
  const verified = await verify(backup);
  await lab.untilProtected(primary);
  stop.abort();
  await watching;
  return {
    imageWhole: verified.found === verified.expected,
    resumed: syncs.length === 0,
    faults: readHeartbeats(serialOf(lab, primary)).faults,
  };
}

/** The log of the guest that runs, or stands by, on one host. */
function serialOf(lab: Lab, agent: AgentProcess): string {
  return lab.serialLog(agent === lab.primary ? 'a' : 'b');
}

/** Digest of the image by a full pass, beside the one the primary named for that epoch. */
export function verify(agent: AgentProcess): Promise<{ epoch: number; expected: string; found: string }> {
  return agent.client.verify(VM);
}

/** The primary's agent dies at a crash point; its guest must tick on before any agent is back. */
export async function killPrimaryAgent(
  lab: Lab,
  primary: AgentProcess,
  point: string,
  count: number,
): Promise<{ ticked: boolean; faults: string[] }> {
  await primary.end('SIGKILL');
  await primary.start({ ROMULUS_CRASH_AT: `${point}:${count}` });
  await primary.ended();
  const ticked = await ticksOn(serialOf(lab, primary));
  await primary.start();
  await lab.untilProtected(primary);
  return { ticked, faults: readHeartbeats(serialOf(lab, primary)).faults };
}

/** True once the guest has written a tick it had not written before. */
export async function ticksOn(serialLog: string, timeoutMs = 20_000): Promise<boolean> {
  const before = readHeartbeats(serialLog).ticks.length;
  const deadline = performance.now() + timeoutMs;
  while (performance.now() < deadline) {
    if (readHeartbeats(serialLog).ticks.length > before) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
}

export interface PlugOutcome {
  imageWhole: boolean;
  /** What the full pass found, with the digests the primary named. */
  verified: { epoch: number; expected: string; found: string };
  decisionToRunningMs: number;
  epoch: number;
  ticked: boolean;
  faults: string[];
}

/**
 * Power cut of one host, failover to the other, which checks the image by a full pass before it is promoted; then the
 * dead host's agent comes back as the backup of the promoted guest, and both are ready for the next round.
 */
export async function pullPlugAndSwap(lab: Lab, from: AgentProcess, to: AgentProcess): Promise<PlugOutcome> {
  const lost = lab.watch(
    to,
    (event) => event.kind === 'lost',
    async () => {
      await from.pullPlug();
      return false;
    },
  );
  await lost;
  const verified = await verify(to);
  const result = await to.client.failover({ vm: VM });
  const ticked = await ticksOn(serialOf(lab, to));
  await lab.swap(from, to);
  return {
    imageWhole: verified.found === verified.expected && verified.epoch === result.epoch,
    verified,
    decisionToRunningMs: result.decisionToRunningMs,
    epoch: result.epoch,
    ticked,
    faults: [...readHeartbeats(lab.serialLog('a')).faults, ...readHeartbeats(lab.serialLog('b')).faults],
  };
}
