/** What getting the dirty bitmap costs (PAGEMAP_SCAN on another process), which is far more than scanning it. */

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { engine } from '../native/index.ts';
import { Samples } from '../shared/samples.ts';
import { PAGE_BYTES } from '../shared/vm.ts';

const GUEST_MIB = 1024;
const ROUNDS = 15;
/** Dirty pages of an epoch, as traces of servers have them. */
const DIRTY_PAGES = [0, 100, 1500, 15_000];

export interface PagemapRow {
  guestGiB: number;
  density: number;
  shape: 'apart';
  method: 'pagemap-scan';
  ns: number;
  pages: number;
}

/** Medians; empty where this kernel or compiler cannot do it. */
export async function benchPagemap(): Promise<PagemapRow[]> {
  if (!engine().pagemapScanSupported()) return [];
  const dir = mkdtempSync(join(tmpdir(), 'romulus-bench-'));
  const program = join(dir, 'tracked');
  const source = join(import.meta.dirname.replace(/\/dist\/bench$/, '/bench'), 'tracked-memory.cc');
  execFileSync('g++', ['-O2', '-o', program, source]);
  const child = spawn(program, [String(GUEST_MIB)], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    const first = await lines.next();
    if (first.done || child.pid === undefined) return [];
    const sizeBytes = GUEST_MIB * 2 ** 20;
    const scan = engine().openPagemapScan(child.pid, BigInt(first.value), sizeBytes);
    const bitmap = engine().createBitmap(sizeBytes / PAGE_BYTES);
    scan.take(bitmap);
    const rows: PagemapRow[] = [];
    for (const pages of DIRTY_PAGES) {
      const ns = new Samples();
      for (let round = 0; round < ROUNDS; round++) {
        child.stdin.write(`${pages} ${pages === 0 ? 1 : Math.floor(bitmap.pages / pages)}\n`);
        await lines.next();
        bitmap.clear();
        const began = process.hrtime.bigint();
        scan.take(bitmap);
        ns.add(Number(process.hrtime.bigint() - began));
      }
      rows.push({
        guestGiB: GUEST_MIB / 1024,
        density: pages / bitmap.pages,
        shape: 'apart',
        method: 'pagemap-scan',
        ns: ns.quantile(0.5),
        pages,
      });
    }
    scan.close();
    return rows;
  } finally {
    child.kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  }
}
