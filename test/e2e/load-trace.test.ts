/** The loads of bench/load-trace.ts: they start, are recorded, and what they dirty replays. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { recordLoad } from '../../bench/load-trace.ts';
import { replayTrace } from '../../cli/replay.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'romulus-load-'));
});
afterAll(() => rmSync(dir, { recursive: true }));

describe('a guest that computes with floating point', () => {
  it('is recorded, replays, and is sent about as it is: compressing it would gain nothing', async () => {
    const spans = [
      { epochMs: 50, epochs: 3 },
      { epochMs: 100, epochs: 2 },
    ];
    const recorded = await recordLoad({
      load: 'stencil',
      memoryMiB: 128,
      into: dir,
      spans,
      settleMs: 500,
      onProgress: () => {},
    });
    expect(recorded.map(({ epochs, epochMs }) => ({ epochs, epochMs }))).toEqual([
      { epochs: 3, epochMs: 50 },
      { epochs: 2, epochMs: 100 },
    ]);
    for (const { path, dirtyPages } of recorded) {
      const replayed = await replayTrace({
        tracePath: path,
        threads: 2,
        linkBitsPerS: 1e9,
        onProgress: () => {},
      });
      expect(replayed).toMatchObject({ verified: true, trace: 'stencil', dirtyPages });
      expect(replayed.compression).toBe('none');
    }
  });
});
