/** A guest that checks its own disk against its memory, while hosts and agents die under it. */

import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DiskLog } from '../../cli/lab/disk-log.ts';
import { Lab } from '../../cli/lab/lab.ts';
import { Segment } from '../../cli/lab/segment.ts';
import { readHeartbeats } from '../../cli/lab/serial.ts';

const BOOT_MS = 60_000;
const RECORDS = 15;
const DISK_MIB = 64;
const POLL_MS = 20;
/** A guest boots, is copied and fails over, emulated, on two loaded cores. */
const TIMEOUT_MS = 300_000;

describe('a guest on a replicated disk', { timeout: TIMEOUT_MS }, () => {
  let lab: Lab;
  let segment: Segment;

  beforeEach(async () => {
    segment = Segment.create();
    lab = await Lab.create({
      epochMs: 25,
      memoryMiB: 128,
      workload: { structureMiB: 8, pagesPerStep: 8, stepsPerSecond: 50, diskOperationsPerSecond: 100 },
      diskMiB: DISK_MIB,
      segment,
    });
    await lab.start();
    await lab.protect();
  });
  afterEach(() => lab.close());

  /** What the guest's disk workload has done, by its own count. */
  const operations = (side: 'a' | 'b') => {
    const lines = [...read(lab.serialLog(side)).matchAll(/disk (\d+) ok/g)];
    return Number(lines.at(-1)?.[1] ?? 0);
  };
  const faults = () => [
    ...readHeartbeats(lab.serialLog('a')).faults,
    ...readHeartbeats(lab.serialLog('b')).faults,
  ];

  it('goes on after a power cut with the disk of the very epoch of its memory, and every record it acknowledged', async () => {
    const log = await DiskLog.open(segment, BOOT_MS);
    log.start();
    await until(() => log.acknowledged >= RECORDS && operations('a') > 0);
    await lab.failOver(lab.primary, lab.backup);
    const before = log.acknowledged;
    await until(() => log.acknowledged >= before + RECORDS && operations('b') > 0);
    await log.stop();
    expect(await log.onDisk()).toBeGreaterThanOrEqual(log.acknowledged);
    expect(faults()).toEqual([]);
    await log.close();

    // And back: the old primary's disk is stale, and is sent only what differs.
    await lab.swap(lab.primary, lab.backup);
    await lab.failOver(lab.backup, lab.primary);
    const ticks = operations('a');
    await until(() => operations('a') > ticks);
    expect(faults()).toEqual([]);
  });

  it('loses nothing when its agent is killed and comes back: QEMU finds its disk again', async () => {
    const log = await DiskLog.open(segment, BOOT_MS);
    log.start();
    await until(() => log.acknowledged >= RECORDS);
    await lab.primary.end('SIGKILL');
    await lab.primary.start();
    await lab.untilProtected(lab.primary);
    const before = log.acknowledged;
    await until(() => log.acknowledged >= before + RECORDS);
    await log.stop();
    expect(await log.onDisk()).toBeGreaterThanOrEqual(log.acknowledged);
    expect(faults()).toEqual([]);
    await log.close();
  });
});

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

async function until(reached: () => boolean): Promise<void> {
  while (!reached()) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
}
