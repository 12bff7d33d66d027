/** A baseline that Remus-like systems have without a delta: dirty pages whole, compressed with snappy. */

import * as snappy from 'snappy';
import { engine } from '../native/index.ts';
import { TraceReader } from '../shared/hypervisor/trace.ts';
import { PAGE_BYTES } from '../shared/vm.ts';

/** Pages compressed together: 1 MiB, far more than a page at a time, in the baseline's favour. */
const PIECE_PAGES = 256;

export interface PageSnappyRow {
  trace: string;
  method: 'pages+snappy';
  threads: 1;
  pages: number;
  rawBytes: number;
  deltaBytes: number;
  wireBytes: number;
  ns: number;
  cpuNs: number;
  gbPerS: number;
}

/** Sums over all epochs of a trace but the first, as the engine's own rows are. */
export async function benchPageSnappy(path: string): Promise<PageSnappyRow> {
  const trace = await TraceReader.open(path);
  const memory = engine().anonymousMemory(trace.header.ramBytes);
  const sums = { pages: 0, wireBytes: 0, ns: 0, cpuNs: 0 };
  try {
    await trace.loadInitial(memory);
    await trace.advance(memory);
    for (let epoch = await trace.advance(memory); epoch; epoch = await trace.advance(memory)) {
      for (let first = 0; first < epoch.pages.length; first += PIECE_PAGES) {
        const pages = epoch.pages.subarray(first, first + PIECE_PAGES);
        const data = Buffer.allocUnsafe(pages.length * PAGE_BYTES);
        engine().gatherPages(memory, pages, data);
        const cpu = process.cpuUsage();
        const began = process.hrtime.bigint();
        sums.wireBytes += snappy.compressSync(data, { copyOutputData: true }).length;
        sums.ns += Number(process.hrtime.bigint() - began);
        const { user, system } = process.cpuUsage(cpu);
        sums.cpuNs += (user + system) * 1000;
        sums.pages += pages.length;
      }
    }
  } finally {
    memory.close();
    await trace.close();
  }
  const rawBytes = sums.pages * PAGE_BYTES;
  return {
    trace: `${trace.header.name}-${trace.header.epochMs}`,
    method: 'pages+snappy',
    threads: 1,
    pages: sums.pages,
    rawBytes,
    deltaBytes: rawBytes,
    wireBytes: sums.wireBytes,
    ns: sums.ns,
    cpuNs: sums.cpuNs,
    gbPerS: rawBytes / Math.max(1, sums.ns),
  };
}
