/** Clients outside, over TCP, while the primary host loses power: nothing acknowledged is lost, no byte differs, no connection breaks. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Lab } from '../../cli/lab/lab.ts';
import { RedisLedger } from '../../cli/lab/redis-ledger.ts';
import { Segment } from '../../cli/lab/segment.ts';
import { download, upload } from '../../cli/lab/transfer.ts';

const TRANSFER_BYTES = 8 * 1024 * 1024;
const BOOT_MS = 60_000;
const WRITES = 20;
const POLL_MS = 20;
/** A guest boots, is copied, fails over and finishes its transfers, emulated, on two loaded cores. */
const TIMEOUT_MS = 300_000;

describe('clients of a guest whose host dies', { timeout: TIMEOUT_MS }, () => {
  let lab: Lab;

  beforeEach(async () => {
    lab = await Lab.create({
      epochMs: 25,
      memoryMiB: 128,
      workload: { structureMiB: 8, pagesPerStep: 8, stepsPerSecond: 50 },
      segment: Segment.create(),
    });
    await lab.start();
    await lab.protect();
  });
  afterEach(() => lab.close());

  it('keep one connection and every acknowledged write', async () => {
    const client = await RedisLedger.open(segmentOf(lab), BOOT_MS);
    client.start();
    await until(() => client.acknowledged >= WRITES);
    await lab.failOver(lab.primary, lab.backup);
    const before = client.acknowledged;
    await until(() => client.acknowledged >= before + WRITES);
    await client.stop();
    expect(await client.lost()).toBe(0);
    expect(client.survived).toBe(true);
    await client.close();
  });

  it('receive and send long streams without a wrong byte', async () => {
    const segment = segmentOf(lab);
    const ready = await RedisLedger.open(segment, BOOT_MS);
    await ready.close();
    let received = 0;
    let sent = 0;
    const transfers = Promise.all([
      download(segment, TRANSFER_BYTES, (bytes) => {
        received = bytes;
      }),
      upload(segment, TRANSFER_BYTES, (bytes) => {
        sent = bytes;
      }),
    ]);
    transfers.catch(() => {}); // awaited below
    await until(() => received > TRANSFER_BYTES / 16 && sent > TRANSFER_BYTES / 16);
    const atTheCut = { received, sent };
    await lab.failOver(lab.primary, lab.backup);
    expect(atTheCut.received).toBeLessThan(TRANSFER_BYTES);
    await transfers;
  });

  it('keep their connection when the agent alone dies and comes back', async () => {
    const client = await RedisLedger.open(segmentOf(lab), BOOT_MS);
    client.start();
    await until(() => client.acknowledged >= WRITES);
    await lab.primary.end('SIGKILL');
    await lab.primary.start();
    const before = client.acknowledged;
    await until(() => client.acknowledged >= before + WRITES);
    await client.stop();
    expect(await client.lost()).toBe(0);
    await client.close();
  });

  it('hear nothing once the agent alone is dead, and the old primary stays silent for good', async () => {
    const client = await RedisLedger.open(segmentOf(lab), BOOT_MS);
    client.start();
    await until(() => client.acknowledged >= WRITES);
    await lab.primary.end('SIGKILL');
    const atDeath = client.acknowledged;
    await lab.backup.client.failover({
      vm: 'demo',
      force: true,
      fencedBy: 'the gate, which died with its agent',
    });
    await until(() => client.acknowledged >= atDeath + WRITES);
    await client.stop();
    expect(await client.lost()).toBe(0);
    await client.close();
  });
});

function segmentOf(lab: Lab): Segment {
  if (lab.segment === undefined) throw new Error('the lab has no network');
  return lab.segment;
}

async function until(reached: () => boolean): Promise<void> {
  while (!reached()) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
}
