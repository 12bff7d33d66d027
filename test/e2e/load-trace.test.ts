/** The loads of bench/load-trace.ts: they start, are recorded, and what they dirty replays and is as small as was promised. */

import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { recordLoad, type Span } from '../../bench/load-trace.ts';
import { replayTrace } from '../../cli/replay.ts';
import { SQLITE_HEADER, type SteadyLoad } from '../../guest/steady.ts';
import { benchDelta } from '../../native/bench.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'romulus-load-'));
});
afterAll(() => rmSync(dir, { recursive: true }));

const record = (load: SteadyLoad, spans: Span[]) =>
  recordLoad({ load, memoryMiB: 128, into: dir, spans, settleMs: 500, onProgress: () => {} });

const replay = (tracePath: string) =>
  replayTrace({ tracePath, threads: 2, linkBitsPerS: 1e9, onProgress: () => {} });

describe('a guest that computes with floating point', () => {
  it('is recorded, replays, and is sent about as it is: compressing it would gain nothing', async () => {
    const spans = [
      { epochMs: 50, epochs: 3 },
      { epochMs: 100, epochs: 2 },
    ];
    const recorded = await record('stencil', spans);
    expect(recorded).toMatchObject(spans);
    for (const { path, dirtyPages } of recorded) {
      const replayed = await replay(path);
      expect(replayed).toMatchObject({ verified: true, trace: 'stencil', dirtyPages, compression: 'none' });
    }
  });
});

describe.skipIf(!existsSync(SQLITE_HEADER))('a guest with SQLite', () => {
  it('is recorded, replays, and takes at most half of what XBZRLE would send', async () => {
    const [recorded] = await record('sqlite', [{ epochMs: 100, epochs: 6 }]);
    const path = recorded?.path ?? '';
    expect(await replay(path)).toMatchObject({ verified: true, trace: 'sqlite', compression: 'zstd1' });
    const rows = await benchDelta([path], { rounds: 1, threads: 1 });
    const sent = (method: string) => rows.find((row) => row.method === method)?.wireBytes ?? 0;
    expect(sent('romulus+zstd1')).toBeLessThan(sent('xbzrle') / 2);
  });
});
