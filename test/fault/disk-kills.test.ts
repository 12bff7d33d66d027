/** The backup's agent dies at the worst moments; the guest that then goes on there finds its disk at the epoch of its memory. */

import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Lab } from '../../cli/lab/lab.ts';
import { readHeartbeats } from '../../cli/lab/serial.ts';
import { killBackup } from './kills.ts';

/** Guests boot, agents die and come back, emulated, on two loaded cores. */
const TIMEOUT_MS = 600_000;
const POLL_MS = 20;
const OPERATIONS = 400;

describe('a replicated disk under kill -9 of the backup', { timeout: TIMEOUT_MS }, () => {
  let lab: Lab;

  beforeEach(async () => {
    lab = await Lab.create({
      epochMs: 25,
      memoryMiB: 128,
      workload: { structureMiB: 8, pagesPerStep: 8, stepsPerSecond: 50, diskOperationsPerSecond: 200 },
      diskMiB: 64,
    });
    await lab.start();
    await lab.protect();
  });
  afterEach(() => lab.close());

  it('is with its memory at one committed epoch after each of them', async () => {
    for (const point of [
      'backup.chunk-staged',
      'backup.committed',
      'backup.half-applied',
      'backup.applied',
    ]) {
      const outcome = await killBackup(lab, lab.primary, lab.backup, point, 20);
      // Not `resumed`: what the disk's cache gathered while the backup was away may outgrow the engine's slabs, and an
      // epoch that left while the guest was paused cannot be sent twice, so a kill in its midst takes a full copy.
      expect(outcome, point).toMatchObject({ imageWhole: true, faults: [] });
    }
    // The last kill has the last word: nothing runs on the backup between it and the failover but its recovery.
    await lab.backup.end('SIGKILL');
    await lab.primary.pullPlug();
    await lab.backup.start();
    await lab.backup.client.failover({ vm: 'demo' });
    while (operations(lab.serialLog('b')) < operations(lab.serialLog('a')) + OPERATIONS) {
      expect(readHeartbeats(lab.serialLog('b')).faults).toEqual([]);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    expect(readHeartbeats(lab.serialLog('b')).faults).toEqual([]);
  });
});

/** What the guest's disk workload has done, by its own count. */
function operations(path: string): number {
  try {
    return Number([...readFileSync(path, 'utf8').matchAll(/disk (\d+) ok/g)].at(-1)?.[1] ?? 0);
  } catch {
    return 0;
  }
}
