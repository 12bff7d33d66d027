/** Makes small traces: a seeded guest of a few hundred pages, written by the same writer as `romulus record` uses. */

import { join } from 'node:path';
import { engine } from '../../native/index.ts';
import { TraceWriter } from '../../shared/hypervisor/trace-writer.ts';
import { PAGE_BYTES } from '../../shared/vm.ts';
import { random } from './random.ts';
import { temporaryDir } from './temporary.ts';

export interface MadeUpTrace {
  path: string;
  ramBytes: number;
  /** Memory at the beginning, then after each epoch. */
  memories: Buffer[];
  /** Pages named dirty, by epoch; some of them did not change. */
  dirty: number[][];
}

/**
 * Writes `epochs` epochs over a guest of `pages` pages; a page in eight is dirty, and one of these stays as it was. `moved` pages an
 * epoch become copies of others, of which there are full ones then.
 */
export async function makeTrace({ pages = 300, epochs = 4, seed = 1, moved = 0 } = {}): Promise<MadeUpTrace> {
  const path = join(temporaryDir('trace'), 'made-up.trace.zst');
  const next = random(seed);
  const ramBytes = pages * PAGE_BYTES;
  const memory = engine().anonymousMemory(ramBytes);
  const word = Buffer.alloc(8);
  const touch = (page: number): void => {
    word.writeDoubleLE(next());
    memory.write(page * PAGE_BYTES + Math.floor(next() * 512) * 8, word);
  };
  for (let page = 0; page < pages; page += 3) touch(page);
  for (let page = 0; page < (moved > 0 ? pages / 4 : 0); page++)
    memory.write(page * PAGE_BYTES, Buffer.from(Array.from({ length: PAGE_BYTES }, () => next() * 256)));
  const writer = await TraceWriter.create(path, memory, { name: 'made-up', epochMs: 50 });
  // The format takes what lies outside the union as zero, so what is compared is cut down to it at the end.
  const snapshots = [memory.read(0, ramBytes)];
  const dirty: number[][] = [];
  for (let epoch = 0; epoch < epochs; epoch++) {
    const chosen = Array.from({ length: pages }, (_, page) => page).filter(() => next() < 1 / 8);
    for (const page of chosen.slice(1)) touch(page);
    for (const page of chosen.slice(1, 1 + moved)) {
      const from = Math.floor((next() * pages) / 4);
      memory.write(page * PAGE_BYTES, memory.read(from * PAGE_BYTES, PAGE_BYTES));
    }
    await writer.add(memory, Uint32Array.from(chosen), { runMs: 50, stopMs: 1, scanMs: 0.5 });
    writer.resumed(0.25);
    snapshots.push(memory.read(0, ramBytes));
    dirty.push(chosen);
  }
  await writer.finish();
  memory.close();
  const union = new Set(dirty.flat());
  for (const snapshot of snapshots) {
    for (let page = 0; page < pages; page++) {
      if (!union.has(page)) snapshot.fill(0, page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
    }
  }
  return { path, ramBytes, memories: snapshots, dirty };
}
