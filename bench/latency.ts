/** What output commit costs a client: time of one request to Redis in the guest, unprotected and at several epoch lengths. */

import { Lab, VM } from '../cli/lab/lab.ts';
import { RedisLedger } from '../cli/lab/redis-ledger.ts';
import { Segment } from '../cli/lab/segment.ts';

const MEMORY_MIB = 128;
const BOOT_MS = 60_000;
/** A guest with little to do beside the requests, so that the epoch is what is measured. */
const WORKLOAD = { structureMiB: 8, pagesPerStep: 8, stepsPerSecond: 50 };

export interface LatencyRow {
  kind: 'latency';
  /** 0: unprotected. */
  epochMs: number;
  requests: number;
  latencyMs: { p50: number; p99: number };
  /** Over the unprotected guest. */
  addedMs: { p50: number; p99: number };
  pauseMsP50: number;
}

/** One row for the unprotected guest, then one for each epoch length; `requests` for each, at random moments. */
export async function measureLatency(
  epochLengthsMs: readonly number[],
  requests: number,
  onProgress: (line: string) => void,
): Promise<LatencyRow[]> {
  const rows: LatencyRow[] = [];
  for (const epochMs of epochLengthsMs) {
    onProgress(`${requests} requests of a client, epochs of ${epochMs} ms`);
    const { open, held, pauseMsP50 } = await measureOne(epochMs, requests, rows.length === 0);
    if (open !== undefined) rows.push(row(0, requests, open, open, 0));
    rows.push(row(epochMs, requests, held, rows[0]?.latencyMs ?? held, pauseMsP50));
  }
  return rows;
}

type Quantiles = { p50: number; p99: number };

async function measureOne(epochMs: number, requests: number, alsoOpen: boolean) {
  const lab = await Lab.create({
    memoryMiB: MEMORY_MIB,
    epochMs,
    workload: WORKLOAD,
    segment: Segment.create(),
  });
  try {
    await lab.start();
    await lab.protect();
    const client = await RedisLedger.open(lab.segment as Segment, BOOT_MS);
    const held = (await client.latencies(requests, epochMs)).summary();
    const pauseMsP50 = (await lab.primary.client.vm(VM)).pauseMs?.p50 ?? 0;
    let open: Quantiles | undefined;
    if (alsoOpen) {
      await lab.primary.client.unprotect(VM);
      open = (await client.latencies(requests, epochMs)).summary();
    }
    await client.close();
    return { open, held, pauseMsP50 };
  } finally {
    await lab.close();
  }
}

function row(
  epochMs: number,
  requests: number,
  at: Quantiles,
  base: Quantiles,
  pauseMsP50: number,
): LatencyRow {
  const latencyMs = { p50: at.p50, p99: at.p99 };
  const addedMs = { p50: at.p50 - base.p50, p99: at.p99 - base.p99 };
  return { kind: 'latency', epochMs, requests, latencyMs, addedMs, pauseMsP50 };
}
