/** `romulus bench epoch`: real epochs of a real guest between two agents, and how soon a standby runs. */

import type { AgentProcess } from '../cli/lab/agent-process.ts';
import { Lab, VM } from '../cli/lab/lab.ts';
import { Segment } from '../cli/lab/segment.ts';
import { RomulusError } from '../shared/errors.ts';
import { Samples } from '../shared/samples.ts';
import { type LatencyRow, measureLatency } from './latency.ts';
import { ownMemoryBytes } from './own-memory.ts';
import type { ThroughputRow } from './throughput.ts';

const MiB = 1024 * 1024;

export interface EpochBenchOptions {
  /** Epoch lengths to ask for, in ms. */
  epochMs: number[];
  /** Epochs measured at each length. */
  epochs: number;
  /** Guest sizes whose failovers are measured, in MiB. */
  memoryMiB: number[];
  /** Failovers of each size. */
  failovers: number;
  /** Requests of a client to Redis in the guest at each epoch length; 0 leaves latency out. */
  requests: number;
  onProgress(line: string): void;
}

export interface EpochRow {
  kind: 'epoch';
  epochMs: number;
  epochs: number;
  /** From the start of one checkpoint to the start of the next. */
  periodMs: { p50: number; p99: number };
  pauseMs: { p50: number; p99: number };
  /** Medians of the pause's parts: stopping, device state beside dirty pages and deltas, going on. */
  partsMs: { stop: number; capture: number; resume: number };
  commitMs: { p50: number; p99: number };
  dirtyPagesP50: number;
  rawBytes: number;
  wireBytes: number;
  wireShare: number;
  /** Shadow and image aside, at the start and at the end of the measured epochs. */
  primaryBytes: { first: number; last: number };
  backupBytes: { first: number; last: number };
}

export interface FailoverRow {
  kind: 'failover';
  memoryMiB: number;
  failovers: number;
  decisionToRunningMs: { p50: number; max: number };
}

export type EpochBenchRow = EpochRow | FailoverRow | LatencyRow | ThroughputRow;

export async function benchEpoch(options: EpochBenchOptions): Promise<EpochBenchRow[]> {
  const rows: EpochBenchRow[] = [];
  for (const epochMs of options.epochMs) {
    options.onProgress(`${options.epochs} epochs of ${epochMs} ms`);
    rows.push(await withLab(256, epochMs, (lab) => measureEpochs(lab, epochMs, options.epochs)));
  }
  for (const memoryMiB of options.failovers > 0 ? options.memoryMiB : []) {
    options.onProgress(`${options.failovers} failovers of a guest of ${memoryMiB} MiB`);
    rows.push(await withLab(memoryMiB, 25, (lab) => measureFailovers(lab, memoryMiB, options.failovers)));
  }
  const missing = options.requests > 0 ? Segment.missing() : undefined;
  if (missing !== undefined) options.onProgress(`without what a client notices: ${missing}`);
  else if (options.requests > 0)
    rows.push(...(await measureLatency(options.epochMs, options.requests, options.onProgress)));
  return rows;
}

async function withLab<T>(memoryMiB: number, epochMs: number, measure: (lab: Lab) => Promise<T>): Promise<T> {
  const lab = await Lab.create({ memoryMiB, epochMs });
  try {
    await lab.start();
    await lab.protect();
    return await measure(lab);
  } finally {
    await lab.close();
  }
}

async function measureEpochs(lab: Lab, epochMs: number, epochs: number): Promise<EpochRow> {
  const pause = new Samples(epochs);
  const period = new Samples(epochs);
  const [stopping, capture, resume] = [new Samples(epochs), new Samples(epochs), new Samples(epochs)];
  const dirty = new Samples(epochs);
  const own = (agent: AgentProcess) => ownMemoryBytes(agent.pid, 256 * MiB);
  const first = { primary: own(lab.primary), backup: own(lab.backup) };
  const before = await lab.primary.client.vm(VM);
  const stop = new AbortController();
  let lastMs: number | undefined;
  for await (const event of lab.primary.client.events(stop.signal)) {
    if (event.kind === 'state')
      throw new RomulusError('DEGRADED', `protection ended: ${String(event.reason)}`);
    if (event.kind !== 'epoch') continue;
    const beganMs = Number(event.beganMs);
    if (lastMs !== undefined) period.add(beganMs - lastMs);
    lastMs = beganMs;
    pause.add(Number(event.pauseMs));
    dirty.add(Number(event.dirtyPages));
    stopping.add(Number(event.stopMs));
    capture.add(Number(event.captureMs));
    resume.add(Number(event.resumeMs));
    if (pause.count >= epochs) break;
  }
  stop.abort();
  const after = await lab.primary.client.vm(VM);
  const rawBytes = after.rawBytes - before.rawBytes;
  const wireBytes = after.wireBytes - before.wireBytes;
  return {
    kind: 'epoch',
    epochMs,
    epochs,
    periodMs: quantiles(period),
    pauseMs: quantiles(pause),
    partsMs: {
      stop: stopping.quantile(0.5),
      capture: capture.quantile(0.5),
      resume: resume.quantile(0.5),
    },
    commitMs: after.commitMs ?? { p50: 0, p99: 0 },
    dirtyPagesP50: dirty.quantile(0.5),
    rawBytes,
    wireBytes,
    wireShare: wireBytes / rawBytes,
    primaryBytes: { first: first.primary, last: own(lab.primary) },
    backupBytes: { first: first.backup, last: own(lab.backup) },
  };
}

/** Each failover is a power cut of whichever host runs the guest; then the roles swap. */
async function measureFailovers(lab: Lab, memoryMiB: number, failovers: number): Promise<FailoverRow> {
  const took = new Samples(failovers);
  let [from, to] = [lab.primary, lab.backup];
  for (let round = 0; round < failovers; round++) {
    took.add((await lab.failOver(from, to)).decisionToRunningMs);
    await lab.swap(from, to);
    [from, to] = [to, from];
  }
  return {
    kind: 'failover',
    memoryMiB,
    failovers,
    decisionToRunningMs: { p50: took.quantile(0.5), max: took.quantile(1) },
  };
}

function quantiles(samples: Samples): { p50: number; p99: number } {
  const { p50, p99 } = samples.summary();
  return { p50, p99 };
}
