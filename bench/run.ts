/** The parts of `romulus bench`, each a list of rows with its baselines measured in the same run. */

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { benchApply, benchDelta, benchScan, type DeltaRow, type ScanRow } from '../native/bench.ts';
import { benchDisk, type DiskRow } from './disk.ts';
import { benchEpoch, type EpochBenchOptions } from './epoch.ts';
import { benchFailover, type FailoverBenchOptions, type FailoverRow } from './failover.ts';
import { benchFleet, type FleetRow } from './fleet-failover.ts';
import { benchPagemap, type PagemapRow } from './pagemap.ts';
import { benchSnappy } from './snappy.ts';
import { benchWire, type WireRow } from './wire.ts';
import { benchXen, type XenRow } from './xen.ts';

export const benchParts = ['scan', 'delta', 'apply', 'wire', 'epoch', 'disk', 'failover', 'xen'] as const;
export type BenchPart = (typeof benchParts)[number];

export interface BenchRequest {
  /** Trace files; the one that comes with the source where none is given. */
  traces: string[];
  guestGiB: number[];
  rounds: number;
  threads: number;
  epoch: Omit<EpochBenchOptions, 'onProgress'>;
  /** More than one VM: one power cut under all of them. */
  failover: Omit<FailoverBenchOptions, 'onProgress'> & { vms: number };
  onProgress(line: string): void;
}

export interface BenchRows {
  scan: (ScanRow | PagemapRow)[];
  delta: DeltaRow[];
  apply: DeltaRow[];
  wire: WireRow[];
  epoch: Awaited<ReturnType<typeof benchEpoch>>;
  disk: DiskRow[];
  failover: (FailoverRow | FleetRow)[];
  xen: XenRow[];
}

/** The trimmed trace of the tests: real, but so short that other traces should be given for figures that count. */
function defaultTraces(): string[] {
  const root = dirname(createRequire(import.meta.url).resolve('#package'));
  const path = join(root, 'test/fixtures/traces/pg-100.trace.zst');
  return existsSync(path) ? [path] : [];
}

export async function runBench<P extends BenchPart>(part: P, request: BenchRequest): Promise<BenchRows[P]> {
  const { guestGiB, rounds, threads, onProgress } = request;
  const traces = request.traces.length > 0 ? request.traces : defaultTraces();
  const names = traces.map((path) => basename(path)).join(', ');
  const traced = part === 'scan' || part === 'delta' || part === 'apply';
  onProgress(`${part}: ${traced ? names : 'real processes'}`);
  const options = { rounds, threads };
  const parts: { [Q in BenchPart]: () => Promise<BenchRows[Q]> } = {
    scan: async () => [...(await benchScan(guestGiB, traces, options)), ...(await benchPagemap())],
    async delta() {
      const rows: BenchRows['delta'] = await benchDelta(traces, options);
      for (const path of traces) rows.push(...(await benchSnappy(path)));
      return rows;
    },
    apply: () => benchApply([...traces, 'dense', 'sparse'], options),
    wire: () => benchWire(),
    epoch: () => benchEpoch({ ...request.epoch, onProgress }),
    failover: () => {
      const { vms, ...kills } = request.failover;
      return vms > 1
        ? benchFleet({ vms, silenceMs: kills.silenceMs, onProgress })
        : benchFailover({ ...kills, onProgress });
    },
    disk: () => benchDisk({ rounds, epochMs: 25, onProgress }),
    xen: () => benchXen({ rounds, epochs: request.epoch.epochs, onProgress }),
  };
  return parts[part]();
}
