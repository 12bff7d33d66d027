/** `romulus demo`: a VM, two agents, a power cut, a failover, the figures. */

import { setTimeout as delay } from 'node:timers/promises';
import { ExitCode, RomulusError } from '../shared/errors.ts';
import { Samples } from '../shared/samples.ts';
import type { AgentEvent } from '../shared/status.ts';
import { demoText, epochLine, say } from './demo/text.ts';
import { playXenDemo } from './demo/xen.ts';
import { Lab, VM } from './lab/lab.ts';
import { RedisLedger } from './lab/redis-ledger.ts';
import { Segment } from './lab/segment.ts';
import { type Heartbeats, readHeartbeats } from './lab/serial.ts';
import { Output, wantsColour } from './output.ts';

export interface DemoOptions {
  guest: 'qemu' | 'xen' | 'replay';
  epochMs: number;
  /** Leave the run folder behind. */
  keep: boolean;
  json: boolean;
}

/** The contract's document; fields are only ever added. Null: not measured by this demo. */
export interface DemoResult {
  guest: string;
  epochs: number;
  epochMs: number;
  pauseMs: { p50: number; p99: number };
  dirtyPagesP50: number;
  rawBytes: number;
  wireBytes: number;
  detectMs: number;
  resumeMs: number;
  rtoMs: number;
  failoverEpoch: number;
  ticksBefore: number;
  ticksAfter: number;
  checksAfter: number;
  faults: number;
  acknowledgedWrites: number | null;
  lostWrites: number | null;
  connectionSurvived: boolean | null;
  /** Longest time the client waited for an acknowledgement: the failover as clients see it. */
  clientGapMs: number | null;
  ok: boolean;
}

/** Time under protection before the plug is pulled. */
const PROTECTED_MS = 8000;
/** The guest checks itself this long after the failover. */
const AFTER_MS = 4000;
const FIRST_TICK_TIMEOUT_MS = 30_000;
const POLL_MS = 20;
/** Ticks come every 100 ms; more than this many said twice would mean that an old image was promoted. */
const MAX_TICKS_BACK = 10;

/** Returns the verb's exit code. */
export async function runDemo(options: DemoOptions): Promise<number> {
  const out = new Output({ json: options.json, colour: wantsColour(process.stdout) });
  if (options.guest === 'xen') return told(await playXenDemo(), out);
  if (options.guest !== 'qemu') {
    throw new RomulusError('HV_UNSUPPORTED', `this demo does not run ${options.guest} guests`, {
      hint: 'romulus demo --guest qemu',
    });
  }
  const missing = Segment.missing();
  if (missing !== undefined) say(`no client over TCP in this demo: ${missing}`);
  say('building the guest: Debian kernel and a small initramfs (once)');
  const segment = missing === undefined ? Segment.create() : undefined;
  const lab = await Lab.create({ epochMs: options.epochMs, ...(segment && { segment }) });
  const interrupted = () => void lab.close().finally(() => process.exit(130));
  process.once('SIGINT', interrupted);
  try {
    return told(await play(lab, options, out), out);
  } finally {
    process.off('SIGINT', interrupted);
    await lab.close({ keep: options.keep });
    if (options.keep) say(`left behind: ${lab.dir} ${lab.imageRoot}`);
  }
}

/** Shows the figures; returns the exit code. */
function told(result: DemoResult, out: Output): number {
  out.result(result, () => demoText(result));
  return result.ok ? ExitCode.ok : ExitCode.failed;
}

async function play(lab: Lab, options: DemoOptions, out: Output): Promise<DemoResult> {
  say('two agents, alpha and beta, each a process with its own folders and port');
  await lab.start();
  say('alpha boots the guest and copies it to beta while it runs');
  await lab.protect((status) => out.progress(`initial copy ${status.sync?.percent ?? 100} %`));
  out.endProgress();
  await ticking(lab.serialLog('a'));
  const client = lab.segment && (await RedisLedger.open(lab.segment, FIRST_TICK_TIMEOUT_MS));
  if (client) say('a client outside writes to Redis in the guest, over one TCP connection');
  client?.start();
  say(`PROTECTED, an epoch every ${options.epochMs} ms; the guest checks its own memory all the while`);
  await showEpochs(lab, out);

  const status = await lab.primary.client.vm(VM);
  say('pulling the plug of alpha: kill -9 of its agent and of its QEMU');
  const lost = lab.watch(lab.backup, (event) => event.kind === 'lost');
  await delay(POLL_MS); // the event stream is open before the plug is pulled
  const killedMs = performance.now();
  await lab.primary.pullPlug();
  await lost;
  const detectMs = performance.now() - killedMs;
  say('beta lost alpha; the operator says: romulus failover demo');
  const failover = await lab.backup.client.failover({ vm: VM });
  const rtoMs = performance.now() - killedMs;
  say(`the guest goes on on beta from epoch ${failover.epoch}`);
  await ticking(lab.serialLog('b'));
  await delay(AFTER_MS);
  const writes = client && (await settle(client));

  const before = readHeartbeats(lab.serialLog('a'));
  const after = readHeartbeats(lab.serialLog('b'));
  return {
    guest: options.guest,
    epochs: status.ackedEpoch,
    epochMs: status.epochMs,
    pauseMs: { p50: rounded(status.pauseMs?.p50), p99: rounded(status.pauseMs?.p99) },
    dirtyPagesP50: status.dirtyPages?.p50 ?? 0,
    rawBytes: status.rawBytes,
    wireBytes: status.wireBytes,
    detectMs: rounded(detectMs),
    resumeMs: rounded(failover.decisionToRunningMs),
    rtoMs: rounded(rtoMs),
    failoverEpoch: failover.epoch,
    ticksBefore: before.ticks.length,
    ticksAfter: after.ticks.length,
    checksAfter: after.checks,
    faults: before.faults.length + after.faults.length,
    acknowledgedWrites: writes?.acknowledged ?? null,
    lostWrites: writes?.lost ?? null,
    connectionSurvived: writes?.survived ?? null,
    clientGapMs: writes ? rounded(writes.longestGapMs) : null,
    ok: continues(before, after) && (writes === undefined || (writes.survived && writes.lost === 0)),
  };
}

/** Ends the client's writing and compares its ledger with what Redis knows after the failover. */
async function settle(client: RedisLedger) {
  try {
    await client.stop();
    const lost = await client.lost();
    return { acknowledged: client.acknowledged, lost, survived: true, longestGapMs: client.longestGapMs };
  } catch {
    return { acknowledged: client.acknowledged, lost: client.acknowledged, survived: false, longestGapMs: 0 };
  } finally {
    await client.close();
  }
}

/** Shows epochs as they come, for a while. */
async function showEpochs(lab: Lab, out: Output): Promise<void> {
  const stop = AbortSignal.timeout(PROTECTED_MS);
  const recent = new Samples(64);
  try {
    for await (const event of lab.primary.client.events(stop)) {
      if (event.kind === 'state') throw degraded(event);
      if (event.kind !== 'epoch') continue;
      recent.add(Number(event.pauseMs));
      out.progress(epochLine(event, recent.quantile(0.5)));
    }
  } catch (thrown) {
    if (!stop.aborted) throw thrown;
  } finally {
    out.endProgress();
  }
}

function degraded(event: AgentEvent): RomulusError {
  return new RomulusError('DEGRADED', `protection ended by itself: ${String(event.reason ?? event.state)}`);
}

/** Resolves at the first tick the guest writes; on the standby's log that is its first sign of life. */
async function ticking(path: string): Promise<void> {
  const deadline = performance.now() + FIRST_TICK_TIMEOUT_MS;
  while (readHeartbeats(path).ticks.length === 0) {
    if (performance.now() > deadline) {
      throw new RomulusError('HV_GUEST_GONE', `the guest writes nothing to ${path}`, {
        hint: 'run it again with --keep and read the logs',
      });
    }
    await delay(POLL_MS);
  }
}

/** One life: no faults, ticks only grow, and the standby went on within what the primary had written (or just after). */
function continues(before: Heartbeats, after: Heartbeats): boolean {
  const last = before.ticks.at(-1) ?? 0;
  const first = after.ticks[0] ?? 0;
  const grows = after.ticks.every((tick, i) => tick === first + i);
  return (
    before.faults.length + after.faults.length === 0 &&
    grows &&
    first > 0 &&
    first <= last + 1 &&
    last - first < MAX_TICKS_BACK &&
    after.checks > 0
  );
}

function rounded(ms: number | undefined): number {
  return Math.round((ms ?? 0) * 100) / 100;
}
