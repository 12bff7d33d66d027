import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { engine } from '../../native/index.ts';

const native = engine();
let dir: string;
let child: ChildProcessWithoutNullStreams;
let lines: AsyncIterator<string>;
let address: bigint;
let sizeBytes: number;

async function nextLine(): Promise<string> {
  const { value, done } = await lines.next();
  if (done) throw new Error('the tracked process ended');
  return value;
}

/** Has the child store to a page; resolves when it has. */
async function storeTo(page: number): Promise<void> {
  child.stdin.write(`${page}\n`);
  await nextLine();
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'romulus-pagemap-'));
  const program = join(dir, 'tracked');
  execFileSync('g++', ['-O1', '-o', program, join(import.meta.dirname, 'native-tracked-process.cc')]);
  child = spawn(program);
  lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const [start, size] = (await nextLine()).split(' ');
  address = BigInt(start ?? 0);
  sizeBytes = Number(size);
});

afterAll(() => {
  child.kill('SIGKILL');
  rmSync(dir, { recursive: true, force: true });
});

describe.runIf(native.pagemapScanSupported())('PAGEMAP_SCAN of another process', () => {
  it('names every page at first, then exactly those stored to since the last call', async () => {
    const scan = native.openPagemapScan(child.pid ?? 0, address, sizeBytes);
    const pages = sizeBytes / 4096;
    const dirty = native.createBitmap(pages);
    expect(scan.take(dirty)).toBe(pages);
    dirty.clear();
    expect(scan.take(dirty)).toBe(0);
    for (const page of [0, 1, 2, 777, pages - 1]) await storeTo(page);
    expect(scan.take(dirty)).toBe(5);
    expect([...dirty.runs()]).toEqual([0, 3, 777, 1, pages - 1, 1]);
    dirty.clear();
    expect(scan.take(dirty)).toBe(0);
    for (let page = 0; page < 6000; page += 2) await storeTo(page);
    expect(scan.take(dirty)).toBe(3000);
    expect(dirty.runs()).toHaveLength(6000);
    scan.close();
    expect(() => scan.take(dirty)).toThrow(/EBADF/);
  });

  it('refuses a range that is not tracked, a missing process and a small bitmap', () => {
    expect(() => native.openPagemapScan(2 ** 22 + 1, 0n, 4096)).toThrow(/ESRCH/);
    expect(() => native.openPagemapScan(child.pid ?? 0, 1n, 4096)).toThrow(/EINVAL/);
    const scan = native.openPagemapScan(child.pid ?? 0, address, sizeBytes);
    expect(() => scan.take(native.createBitmap(10))).toThrow(/EINVAL/);
  });

  it('says ESRCH, not "nothing written", once the process died', async () => {
    const scan = native.openPagemapScan(child.pid ?? 0, address, sizeBytes);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(() => scan.take(native.createBitmap(sizeBytes / 4096))).toThrow(/ESRCH/);
  });
});
