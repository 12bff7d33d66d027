import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { benchApply, benchDelta, benchScan } from '../../native/bench.ts';
import { temporaryDir } from '../support/temporary.ts';

describe('the yardsticks', () => {
  it('list the same pages by every method of scanning', async () => {
    const rows = await benchScan([1], [], { rounds: 1 });
    const listed = new Map<string, Set<number>>();
    for (const row of rows.filter((row) => row.method !== 'limit-read')) {
      const key = `${row.shape} ${row.density}`;
      listed.set(key, (listed.get(key) ?? new Set()).add(row.pages));
      expect(row.ns).toBeGreaterThan(0);
    }
    expect(listed.size).toBeGreaterThan(5);
    for (const pages of listed.values()) expect(pages.size).toBe(1);
  });

  it('send by delta a small part of sparse pages, and no more than the pages of dense ones', async () => {
    const rows = await benchDelta(['sparse', 'dense'], { rounds: 1, threads: 1 });
    const bytes = (trace: string, method: string) =>
      rows.find((row) => row.trace === trace && row.method === method)?.deltaBytes ?? Number.NaN;
    expect(bytes('sparse', 'romulus')).toBeLessThan(bytes('sparse', 'pages') / 30);
    expect(bytes('dense', 'romulus')).toBeLessThan(bytes('dense', 'pages'));
    expect(bytes('sparse', 'xbzrle')).toBe(bytes('sparse', 'xbzrle-simd'));
  });

  it('measure applying beside a copy', async () => {
    const methods = (await benchApply(['sparse'], { rounds: 1, threads: 1 })).map((row) => row.method);
    expect(methods).toEqual(['limit-copy', 'romulus']);
  });

  it('name the file that is no trace', async () => {
    const path = join(temporaryDir('no-trace'), 'no.trace');
    writeFileSync(path, 'no trace');
    await expect(benchDelta([path])).rejects.toMatchObject({
      code: 'ENGINE',
      message: expect.stringContaining(path),
    });
  });
});
