/** A trace through the whole pipeline: the verb's own run, and what it must notice. */

import { rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { replayTrace } from '../../cli/replay.ts';
import { type MadeUpTrace, makeTrace } from '../support/trace.ts';

let trace: MadeUpTrace;
beforeAll(async () => {
  trace = await makeTrace({ pages: 2000, epochs: 6 });
});
afterAll(() => rmSync(dirname(trace.path), { recursive: true }));

interface Options {
  epochs?: number;
  path?: string;
  shadowShare?: number;
  linkBitsPerS?: number;
}

const replay = (options: Options = {}) => {
  const { epochs, path = trace.path, shadowShare, linkBitsPerS = 1e9 } = options;
  return replayTrace({
    tracePath: path,
    threads: 2,
    linkBitsPerS,
    ...(epochs !== undefined && { epochs }),
    ...(shadowShare !== undefined && { shadowShare }),
    onProgress: () => {},
  });
};

describe('replay', () => {
  it('finds the image to be the memory of the trace after each epoch', async () => {
    const result = await replay();
    expect(result).toMatchObject({ verified: true, epochs: 6, guestBytes: trace.ramBytes, threads: 2 });
    expect(result.dirtyPages).toBe(trace.dirty.flat().length);
    expect(result.wireBytes).toBeLessThan(result.rawBytes / 20);
    expect(result.initial.wireBytes).toBeGreaterThan(0);
    expect(result.wallNs).toBeGreaterThanOrEqual(result.encodeNs);
  });

  it.each([0, 0.1])('verifies the image with a shadow copy of %d of the guest', async (shadowShare) => {
    const result = await replay({ shadowShare });
    expect(result).toMatchObject({ verified: true, epochs: 6 });
    expect(result.shadowBytes).toBe(Math.floor((trace.ramBytes / 4096) * shadowShare) * 4096);
    expect(result.wireBytes).toBeLessThan(result.rawBytes / 2);
  });

  it('verifies the image where pages are sent as copies of others', async () => {
    const moving = await makeTrace({ pages: 2000, epochs: 30, moved: 60 });
    try {
      const result = await replay({ path: moving.path, linkBitsPerS: 1e7 });
      expect(result).toMatchObject({ verified: true, epochs: 30 });
      expect(result.copiedPages).toBeGreaterThan(100);
      const fast = await replay({ path: moving.path, linkBitsPerS: 1e11 });
      expect(fast).toMatchObject({ verified: true, copiedPages: 0, copiedBytes: 0 });
    } finally {
      rmSync(dirname(moving.path), { recursive: true });
    }
  });

  it('stops after as many epochs as were asked for', async () => {
    const result = await replay({ epochs: 2 });
    expect(result).toMatchObject({ verified: true, epochs: 2 });
    expect(result.dirtyPages).toBe(trace.dirty.slice(0, 2).flat().length);
  });

  it('rejects a trace that is damaged, and ends', async () => {
    const path = `${trace.path}.bad`;
    writeFileSync(path, 'no trace');
    await expect(replay({ path })).rejects.toMatchObject({ code: 'TRACE_INVALID' });
  });
});
