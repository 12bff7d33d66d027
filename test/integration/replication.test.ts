/** Two sides over a real socket around a synthetic guest: what is committed, resumed, refused and promoted. */

import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { digestHex } from '../../shared/wire/messages.ts';
import { Backup, Primary, spec } from '../support/pair.ts';
import { SyntheticSource } from '../support/synthetic.ts';

let backup: Backup;
let primary: Primary;

beforeEach(async () => {
  backup = new Backup();
  await backup.start();
});

afterEach(async () => {
  await primary?.replica.stop({ forget: false });
  await backup.stop();
  backup.remove();
});

/** The primary dies; resolves when the backup has noticed. */
async function losePrimary(): Promise<void> {
  const lost = backup.trail.next((event) => event.kind === 'lost');
  await primary.replica.stop({ forget: false });
  await lost;
}

/** The image by a full pass, against the primary's own full pass at that very checkpoint, which its state numbers. */
async function expectImageIsThatEpoch(): Promise<void> {
  const image = backup.standby?.image;
  if (image === undefined) throw new Error('the backup is down');
  const verified = await image.verify();
  expect(verified.found).toBe(verified.expected);
  const checkpoint = readFileSync(image.writeState()).readUInt32LE(0);
  expect(verified.found.split(':')[0]).toBe(digestHex(primary.source.digests[checkpoint - 1] ?? -1n));
}

describe('replication', () => {
  it('brings the image to exactly the memory of a committed epoch', async () => {
    primary = await Primary.create(backup.endpoint);
    const enough = backup.trail.commits(30);
    await primary.replica.start();
    await enough;
    await primary.replica.stop({ forget: false });
    await backup.stop();
    await backup.start();
    await expectImageIsThatEpoch();
    expect(backup.standby?.image.committed).toBeGreaterThanOrEqual(30);
  });

  it('is PROTECTED only after the first acknowledgement', async () => {
    primary = await Primary.create(backup.endpoint);
    const order: string[] = [];
    void backup.trail.commits(1).then(() => order.push('commit'));
    const protectedState = primary.trail.state('PROTECTED').then(() => order.push('PROTECTED'));
    await primary.replica.start();
    await protectedState;
    expect(order).toEqual(['commit', 'PROTECTED']);
  });

  it('goes on without a full copy after the backup agent restarts', async () => {
    primary = await Primary.create(backup.endpoint);
    const first = backup.trail.commits(10);
    await primary.replica.start();
    await first;
    const syncs = () => primary.trail.seen.filter((event) => event.kind === 'synced').length;
    expect(syncs()).toBe(1);
    await backup.stop();
    await backup.start();
    await backup.trail.commits(10);
    expect(syncs()).toBe(1);
    expect(primary.replica.status().state).toBe('PROTECTED');
  });

  it('copies anew, while the guest runs, what would take it too long to stand still for', async () => {
    const ramBytes = 64 * 1024 * 1024;
    const source = new SyntheticSource(ramBytes, { seed: 2, pagesPerEpoch: 50, wholeShare: 0 });
    const large = { spec: { ...spec, memoryBytes: ramBytes }, linkBitsPerS: 100e6 };
    primary = await Primary.create(backup.endpoint, {}, large, source);
    const first = backup.trail.commits(5);
    await primary.replica.start();
    await first;
    for (const [writtenMeanwhile, syncs] of [
      [1000, 1], // 4 MiB: one epoch takes it
      [10_000, 2],
    ] as const) {
      const degraded = primary.trail.state('DEGRADED');
      await backup.stop();
      await degraded; // no epoch is under way that would take these pages along
      source.writtenMeanwhile = writtenMeanwhile;
      await backup.start();
      await backup.trail.commits(5);
      expect(primary.trail.seen.filter((event) => event.kind === 'synced')).toHaveLength(syncs);
    }
  });

  it('refuses a failover while the primary is heard, and says why', async () => {
    primary = await Primary.create(backup.endpoint);
    const first = backup.trail.commits(3);
    await primary.replica.start();
    await first;
    await expect(backup.standby?.failover({ vm: 'vm' })).rejects.toMatchObject({
      code: 'PRIMARY_ALIVE',
      exitCode: 4,
    });
    await expect(backup.standby?.failover({ vm: 'vm', force: true })).rejects.toMatchObject({
      code: 'FENCE_UNPROVEN',
    });
    expect(backup.standby?.status().state).toBe('STANDBY');
  });

  it('fences the old primary when a forced failover happened', async () => {
    primary = await Primary.create(backup.endpoint);
    const first = backup.trail.commits(3);
    await primary.replica.start();
    await first;
    const fenced = primary.trail.state('FENCED');
    const result = await backup.standby?.failover({ vm: 'vm', force: true, fencedBy: 'the test' });
    await fenced;
    expect(primary.source.fenced).toBe(true);
    expect(primary.term.current.term).toBe(2);
    expect(result?.term).toBe(2);
    expect(result?.epoch).toBe(backup.standby?.image.committed);
    expect(backup.target.startedWith?.length).toBe(5000);
  });

  it('promotes the last committed epoch once the primary is gone', async () => {
    primary = await Primary.create(backup.endpoint);
    const first = backup.trail.commits(5);
    await primary.replica.start();
    await first;
    await losePrimary();
    const result = await backup.standby?.failover({ vm: 'vm' });
    expect(result?.epoch).toBe(backup.standby?.image.committed);
    await expectImageIsThatEpoch();
    await expect(backup.standby?.failover({ vm: 'vm' })).rejects.toMatchObject({ code: 'VM_BUSY' });
  });

  it('drops the standby when protection is ended on purpose', async () => {
    primary = await Primary.create(backup.endpoint);
    const first = backup.trail.commits(3);
    await primary.replica.start();
    await first;
    const ended = backup.trail.state('ENDED');
    await primary.replica.stop({ forget: true });
    await ended;
    expect(backup.standby?.image.promotable).toBe(false);
  });

  it('sends an epoch larger than all slabs together, and stays whole', async () => {
    primary = await Primary.create(backup.endpoint, { pagesPerEpoch: 4096, wholeShare: 1 }, { epochMs: 50 });
    const enough = backup.trail.commits(3);
    await primary.replica.start();
    await enough;
    await losePrimary();
    await backup.standby?.failover({ vm: 'vm' });
    await expectImageIsThatEpoch();
  });
});
