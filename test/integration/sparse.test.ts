/** A guest of 64 GiB that touched a few MiB: it is recorded, replayed and compared in the memory of what it touched. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { replayTrace } from '../../cli/replay.ts';
import { engine } from '../../native/index.ts';
import { TraceWriter } from '../../shared/hypervisor/trace-writer.ts';
import { PAGE_BYTES } from '../../shared/vm.ts';

const RAM_BYTES = 64 * 2 ** 30;
const PAGES = RAM_BYTES / PAGE_BYTES;
const TOUCHED = 500;
const EPOCHS = 3;
/** Far below the guest's size, far above what a few hundred pages take. */
const MOST_MEMORY_BYTES = 1.5 * 2 ** 30;

const dir = mkdtempSync(join(tmpdir(), 'romulus-sparse-'));
const path = join(dir, 'sparse.trace.zst');
afterAll(() => rmSync(dir, { recursive: true }));

/** Memory this process has at the moment, tmpfs that it mapped included. */
function residentBytes(): number {
  const kib = /^VmRSS:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  return Number(kib) * 1024;
}

beforeAll(async () => {
  const memory = engine().anonymousMemory(RAM_BYTES);
  const pages = Uint32Array.from({ length: TOUCHED }, (_, i) => Math.floor(((i + 0.5) * PAGES) / TOUCHED));
  const touch = (page: number, value: number) =>
    memory.write(page * PAGE_BYTES + 8, Buffer.alloc(100, value));
  for (const page of pages) touch(page, 1);
  const writer = await TraceWriter.create(path, memory, { name: 'sparse', epochMs: 100 });
  for (let epoch = 0; epoch < EPOCHS; epoch++) {
    for (const page of pages) touch(page, 2 + epoch);
    await writer.add(memory, pages, { runMs: 100, stopMs: 1, scanMs: 1 });
  }
  await writer.finish();
  memory.close();
}, 120_000);

describe('a sparse guest of 64 GiB', () => {
  it('is replayed byte for byte, in memory for what it touched', async () => {
    const result = await replayTrace({
      tracePath: path,
      threads: 2,
      linkBitsPerS: 1e9,
      onProgress: () => {},
    });
    expect(result).toMatchObject({ verified: true, epochs: EPOCHS, guestBytes: RAM_BYTES });
    expect(result.dirtyPages).toBe(EPOCHS * TOUCHED);
    expect(result.initial.wireBytes).toBeLessThan(TOUCHED * PAGE_BYTES);
    expect(residentBytes()).toBeLessThan(MOST_MEMORY_BYTES);
  }, 120_000);
});
