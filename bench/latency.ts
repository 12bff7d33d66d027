/** What output commit costs clients of Redis in the guest, unprotected and at several epoch lengths: time of one request, and rate of many. */

import { Lab, VM } from '../cli/lab/lab.ts';
import { RedisLedger } from '../cli/lab/redis-ledger.ts';
import { Segment } from '../cli/lab/segment.ts';
import { CLIENTS, redisThroughput, type ThroughputRow } from './throughput.ts';

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

/** Rows for the unprotected guest, then for each epoch length; `requests` single ones for each, at random moments. */
export async function measureLatency(
  epochLengthsMs: readonly number[],
  requests: number,
  onProgress: (line: string) => void,
): Promise<(LatencyRow | ThroughputRow)[]> {
  const rows: (LatencyRow | ThroughputRow)[] = [];
  let open: Measured | undefined;
  for (const epochMs of epochLengthsMs) {
    onProgress(`${requests} requests of a client, epochs of ${epochMs} ms`);
    const lab = await Lab.create({
      memoryMiB: MEMORY_MIB,
      epochMs,
      workload: WORKLOAD,
      segment: Segment.create(),
    });
    try {
      await lab.start();
      await lab.protect();
      const held = await measureOne(lab, requests, epochMs);
      const pauseMsP50 = (await lab.primary.client.vm(VM)).pauseMs?.p50 ?? 0;
      if (open === undefined) {
        await lab.primary.client.unprotect(VM);
        open = await measureOne(lab, requests, epochMs);
        rows.push(...rowsOf(0, requests, open, open, 0));
      }
      rows.push(...rowsOf(epochMs, requests, held, open, pauseMsP50));
    } finally {
      await lab.close();
    }
  }
  return rows;
}

interface Measured {
  latencyMs: { p50: number; p99: number };
  /** As CLIENTS. */
  requestsPerS: number[];
}

async function measureOne(lab: Lab, requests: number, thinkMs: number): Promise<Measured> {
  const segment = lab.segment as Segment;
  const client = await RedisLedger.open(segment, BOOT_MS);
  const { p50, p99 } = (await client.latencies(requests, thinkMs)).summary();
  await client.close();
  const requestsPerS: number[] = [];
  for (const clients of CLIENTS) requestsPerS.push(await redisThroughput(segment, clients));
  return { latencyMs: { p50, p99 }, requestsPerS };
}

function rowsOf(
  epochMs: number,
  requests: number,
  { latencyMs, requestsPerS }: Measured,
  open: Measured,
  pauseMsP50: number,
): (LatencyRow | ThroughputRow)[] {
  const addedMs = { p50: latencyMs.p50 - open.latencyMs.p50, p99: latencyMs.p99 - open.latencyMs.p99 };
  return [
    { kind: 'latency', epochMs, requests, latencyMs, addedMs, pauseMsP50 },
    ...CLIENTS.map((clients, i): ThroughputRow => {
      const perS = requestsPerS[i] ?? 0;
      return {
        kind: 'throughput',
        epochMs,
        clients,
        requestsPerS: perS,
        share: perS / (open.requestsPerS[i] ?? perS),
      };
    }),
  ];
}
