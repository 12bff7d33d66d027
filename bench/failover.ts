/** Automatic failover by real power cuts: two agents, a real witness, a real guest; what it took, and what was lost. */

import { Lab, VM } from '../cli/lab/lab.ts';
import { readHeartbeats } from '../cli/lab/serial.ts';
import { LabWitness } from '../cli/lab/witness.ts';
import { RedisRegister } from '../shared/control/redis-register.ts';
import { RomulusError } from '../shared/errors.ts';
import { Samples } from '../shared/samples.ts';
import type { AgentEvent } from '../shared/status.ts';

export interface FailoverBenchOptions {
  kills: number;
  /** Silence that counts as loss, in ms. */
  silenceMs: number;
  onProgress(line: string): void;
}

/** Over all kills; times in ms from the kill of agent and hypervisor. */
export interface FailoverRow {
  what: 'failover';
  kills: number;
  silenceMs: number;
  /** Kills of a guest that had just lost its protection, and so its failover: not in the times. */
  unprotected: number;
  /** Until the backup asked the witness for the VM. */
  detectedMs: { p50: number; p99: number };
  /** Until the guest ran on the other host. */
  runningMs: { p50: number; p99: number };
  /** From the won register to the running guest. */
  decisionToRunningMs: { p50: number; p99: number };
  /** From the return of the dead host's agent until PROTECTED. */
  protectedAgainMs: { p50: number; p99: number };
  /** Kills after which the guest did not go on where its backup stood, or found its memory wrong. */
  lost: number;
  /** Kills after which both hosts served. */
  twoActive: number;
}

/** Ticks come every 100 ms: so many said twice would mean that more than the unacknowledged epochs was lost. */
const MAX_TICKS_BACK = 10;
const TICK_TIMEOUT_MS = 30_000;
const POLL_MS = 20;
/** What an operator says of a host that died while it served alone. */
const AFTER_ALL = { force: true, fencedBy: 'the power cut of this benchmark', acceptDataLoss: true };

/** SIGTERM ends it after the power cut under way, with the figures so far. */
export async function benchFailover(options: FailoverBenchOptions): Promise<FailoverRow[]> {
  const { kills, silenceMs } = options;
  const witness = await LabWitness.start();
  const lab = await Lab.create({
    epochMs: 25,
    memoryMiB: 128,
    workload: { structureMiB: 16 },
    witness,
    agent: { silence: `${silenceMs}ms` },
  });
  const register = new RedisRegister({ socketPath: witness.socketPath });
  const detected = new Samples(kills);
  const running = new Samples(kills);
  const decision = new Samples(kills);
  const again = new Samples(kills);
  let unprotected = 0;
  let lost = 0;
  let twoActive = 0;
  let done = 0;
  let stopped = false;
  const stop = () => {
    stopped = true;
  };
  process.once('SIGTERM', stop);
  try {
    await register.ready();
    await lab.start();
    await lab.protect();
    let [from, to] = [lab.primary, lab.backup];
    for (let kill = 1; kill <= kills && !stopped; kill++) {
      options.onProgress(`power cut ${kill} of ${kills}`);
      const [fromLog, toLog] = from === lab.primary ? (['a', 'b'] as const) : (['b', 'a'] as const);
      const ticksThere = readHeartbeats(lab.serialLog(toLog)).ticks.length;
      let killedMs = 0;
      let covered = true;
      let claimedMs: number | undefined;
      const seen = (event: AgentEvent) => {
        if (event.kind === 'authority' && event.phase === 'CLAIMING') claimedMs ??= performance.now();
        return event.kind === 'failover';
      };
      const failover = await lab.watch(to, seen, async () => {
        killedMs = performance.now();
        await from.pullPlug();
        covered = await isCovered(register, from.name);
        if (!covered) await to.client.failover({ vm: VM, ...AFTER_ALL });
        return false;
      });
      const runningMs = performance.now() - killedMs;
      if (covered) {
        running.add(runningMs);
        if (claimedMs !== undefined) detected.add(claimedMs - killedMs);
        decision.add(Number(failover?.decisionToRunningMs));
      } else unprotected += 1;
      const before = readHeartbeats(lab.serialLog(fromLog));
      const after = await firstTick(lab, toLog, ticksThere);
      if (covered && !follows(before.ticks.at(-1) ?? 0, after)) lost += 1;
      const backMs = performance.now();
      await from.start();
      await lab.untilProtected(to);
      again.add(performance.now() - backMs);
      if ((await from.client.vm(VM)).role === 'primary') twoActive += 1;
      if (readHeartbeats(lab.serialLog(toLog)).faults.length > 0) lost += 1;
      [from, to] = [to, from];
      done = kill;
    }
  } finally {
    process.off('SIGTERM', stop);
    await lab.close();
    await register.close();
    await witness.stop();
  }
  const quantiles = (samples: Samples) => ({
    p50: rounded(samples.quantile(0.5)),
    p99: rounded(samples.quantile(0.99)),
  });
  return [
    {
      what: 'failover',
      kills: done,
      silenceMs,
      unprotected,
      detectedMs: quantiles(detected),
      runningMs: quantiles(running),
      decisionToRunningMs: quantiles(decision),
      protectedAgainMs: quantiles(again),
      lost,
      twoActive,
    },
  ];
}

/** Just after the power cut: what the backup finds there when it asks, or has written meanwhile. */
async function isCovered(register: RedisRegister, dead: string): Promise<boolean> {
  const reading = await register.read(VM);
  if (reading.outcome !== 'read') throw new RomulusError('WITNESS_UNREACHABLE', reading.reason);
  return reading.state?.mode === 'PROTECTED' || reading.state?.owner !== dead;
}

/** The first tick that the guest writes on the other host. */
async function firstTick(lab: Lab, side: 'a' | 'b', before: number): Promise<number> {
  const deadline = performance.now() + TICK_TIMEOUT_MS;
  while (performance.now() < deadline) {
    const tick = readHeartbeats(lab.serialLog(side)).ticks[before];
    if (tick !== undefined) return tick;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new RomulusError('HV_GUEST_GONE', 'the promoted guest writes nothing');
}

function follows(last: number, first: number): boolean {
  return first > 0 && first <= last + 1 && last - first < MAX_TICKS_BACK;
}

function rounded(ms: number): number {
  return Math.round(ms * 10) / 10;
}
