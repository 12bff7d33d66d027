/** A backup whose tmpfs is full: protection ends visibly, the guest runs on, and what was committed stays promotable. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { MAX_STATE_BYTES } from '../../shared/limits.ts';
import { Backup, Primary, RAM_BYTES } from '../support/pair.ts';

let dir: string;
let backup: Backup;
let primary: Primary;

/** A backup on a file system of its own, of just this size. */
async function backupOn(sizeBytes: number): Promise<void> {
  dir = mkdtempSync(join(tmpdir(), 'romulus-full-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeBytes}`, 'tmpfs', dir]);
  backup = new Backup(dir);
  await backup.start();
}

afterEach(async () => {
  await primary.replica.stop({ forget: false });
  await backup.stop();
  execFileSync('umount', [dir]);
  rmSync(dir, { recursive: true });
});

describe('a full tmpfs on the backup', () => {
  it('refuses an image it has no room for, saying so on the primary', async () => {
    await backupOn(RAM_BYTES / 2);
    primary = await Primary.create(backup.endpoint);
    const degraded = primary.trail.state('DEGRADED');
    await primary.replica.start();
    expect(await degraded).toMatchObject({ code: 'IMAGE_FULL' });
    expect(primary.replica.status().hint).toMatch(/df -h/);
    expect(await primary.source.guestState()).toBe('running');
  });

  it('keeps the last committed epoch when staging the next finds no room, and goes on once there is room', async () => {
    await backupOn(RAM_BYTES + MAX_STATE_BYTES + 8 * 1024 * 1024);
    primary = await Primary.create(backup.endpoint);
    const enough = backup.trail.commits(5);
    await primary.replica.start();
    await enough;
    const degraded = primary.trail.state('DEGRADED');
    const filler = join(dir, 'filler');
    const { bavail, bsize } = statfsSync(dir);
    writeFileSync(filler, Buffer.alloc(Math.max(0, (bavail - 2) * bsize)));
    expect(await degraded).toMatchObject({ code: 'IMAGE_FULL' });
    expect(backup.standby?.image.promotable).toBe(true);
    const again = primary.trail.state('PROTECTED');
    rmSync(filler);
    await again;
  });
});
