/** Recording a live QEMU guest, and predicting its protection: both leave it running. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DRY_RUN_EPOCHS_MS, dryRun } from '../../cli/dry-run.ts';
import { recordTrace } from '../../cli/record.ts';
import { replayTrace } from '../../cli/replay.ts';
import { makeQemuGuest } from '../support/qemu-guest.ts';
import { waitForTicks } from '../support/serial-log.ts';

let guest: Awaited<ReturnType<typeof makeQemuGuest>>;
let source: ReturnType<typeof guest.open>;
let dir: string;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'romulus-record-'));
  guest = await makeQemuGuest();
  source = guest.open();
  await source.attach();
  await waitForTicks(guest.serialLog, 3);
});
afterAll(async () => {
  await source.detach();
  await guest.dispose();
  rmSync(dir, { recursive: true });
});

describe('a live QEMU guest', () => {
  it('is recorded as a trace that replays, verified, and goes on running', async () => {
    const path = join(dir, 'live.trace.zst');
    const recorded = await recordTrace({
      source,
      name: 'live',
      epochs: 5,
      epochMs: 50,
      path,
      signal: new AbortController().signal,
      onProgress: () => {},
    });
    expect(recorded).toMatchObject({ epochs: 5, guestBytes: source.geometry.ramBytes });
    expect(recorded.dirtyPages).toBeGreaterThan(0);
    const replayed = await replayTrace({
      tracePath: path,
      threads: 2,
      linkBitsPerS: 1e9,
      onProgress: () => {},
    });
    expect(replayed).toMatchObject({
      verified: true,
      epochs: 5,
      dirtyPages: recorded.dirtyPages,
    });
    await waitForTicks(guest.serialLog, 2);
  });

  it('is measured by a dry run at each epoch length, and goes on running', async () => {
    const asked: number[] = [];
    const rows = await dryRun({
      source,
      threads: 2,
      linkBitsPerS: 1e9,
      onProgress: (epochMs) => asked.push(epochMs),
    });
    expect(asked).toEqual([...DRY_RUN_EPOCHS_MS]);
    for (const row of rows) {
      expect(row.pauseMs.p50).toBeGreaterThan(0);
      expect(row.wireBytesPerS).toBeLessThanOrEqual(row.rawBytesPerS);
      expect(row.outputDelayMs.p99).toBeGreaterThan(row.epochMs);
    }
    await waitForTicks(guest.serialLog, 2);
  });
});
