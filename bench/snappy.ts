/** What snappy makes of the same epochs: of whole dirty pages, as Remus-like systems without a delta have them, and of deltas. */

import * as snappy from 'snappy';
import type { DeltaMethod, DeltaRow } from '../native/bench.ts';
import {
  CHUNK_HEADROOM_BYTES,
  type DirtyBitmap,
  type Encoder,
  engine,
  type Memory,
} from '../native/index.ts';
import { type TraceEpoch, TraceReader } from '../shared/hypervisor/trace.ts';
import { PAGE_BYTES } from '../shared/vm.ts';

/** Pages compressed together: 1 MiB, far more than a page at a time, in the baseline's favour. */
const PIECE_PAGES = 256;

/** Sums over all epochs of a trace but the first, as the engine's own rows are; the delta's own time is in its row. */
class Sums {
  pages = 0;
  deltaBytes = 0;
  wireBytes = 0;
  ns = 0;
  cpuNs = 0;

  compress(data: Buffer): void {
    const cpu = process.cpuUsage();
    const began = process.hrtime.bigint();
    this.wireBytes += snappy.compressSync(data, { copyOutputData: true }).length;
    this.ns += Number(process.hrtime.bigint() - began);
    const { user, system } = process.cpuUsage(cpu);
    this.cpuNs += (user + system) * 1000;
    this.deltaBytes += data.length;
  }

  row(trace: string, method: DeltaMethod): DeltaRow {
    const { pages, deltaBytes, wireBytes, ns, cpuNs } = this;
    const rawBytes = pages * PAGE_BYTES;
    const rates = { gbPerS: rawBytes / Math.max(1, ns), gbPerCpuS: rawBytes / Math.max(1, cpuNs) };
    return { trace, method, threads: 1, pages, rawBytes, deltaBytes, wireBytes, ns, cpuNs, ...rates };
  }
}

function compressPages(memory: Memory, { pages }: TraceEpoch, sums: Sums): void {
  for (let first = 0; first < pages.length; first += PIECE_PAGES) {
    const some = pages.subarray(first, first + PIECE_PAGES);
    const data = Buffer.allocUnsafe(some.length * PAGE_BYTES);
    engine().gatherPages(memory, some, data);
    sums.compress(data);
  }
}

/** The time of encoding counts too, so that the row compares with the engine's. */
async function compressDeltas(encoder: Encoder, dirty: DirtyBitmap, sums: Sums): Promise<void> {
  for (let complete = false; !complete; ) {
    const result = await encoder.encode(dirty, 'bytes');
    complete = result.complete;
    sums.ns += result.encodeNs;
    sums.cpuNs += result.encodeNs;
    for (const { buffer, payloadBytes, slab } of result.chunks) {
      sums.compress(buffer.subarray(CHUNK_HEADROOM_BYTES, CHUNK_HEADROOM_BYTES + payloadBytes));
      encoder.release(slab);
    }
  }
}

/** Rows `pages+snappy` and `romulus+snappy` of one trace. */
export async function benchSnappy(path: string): Promise<DeltaRow[]> {
  const trace = await TraceReader.open(path);
  const { ramBytes, name, epochMs } = trace.header;
  const memory = engine().anonymousMemory(ramBytes);
  const shadow = engine().anonymousMemory(ramBytes);
  const encoder = engine().createEncoder({ memory, shadow, threads: 1 });
  const dirty = engine().createBitmap(ramBytes / PAGE_BYTES);
  let [pages, deltas] = [new Sums(), new Sums()];
  try {
    await trace.loadInitial(memory);
    dirty.setAll();
    engine().skipUntouched(memory, dirty);
    await compressDeltas(encoder, dirty, deltas);
    for (let epoch = await trace.advance(memory); epoch; epoch = await trace.advance(memory)) {
      // The first epoch warms up, as it does for the engine's own rows.
      if (trace.applied <= 2) [pages, deltas] = [new Sums(), new Sums()];
      for (const page of epoch.pages) dirty.set(page);
      pages.pages += epoch.pages.length;
      deltas.pages += epoch.pages.length;
      compressPages(memory, epoch, pages);
      await compressDeltas(encoder, dirty, deltas);
    }
  } finally {
    encoder.close();
    memory.close();
    shadow.close();
    trace.close();
  }
  const label = `${name}-${epochMs}`;
  return [pages.row(label, 'pages+snappy'), deltas.row(label, 'romulus+snappy')];
}
