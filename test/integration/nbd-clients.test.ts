/** The disk's server before the clients others wrote: nbdinfo, nbdcopy, qemu-img, qemu-io, fio. Their checks are the judge. */

import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TestDisk } from '../support/disk.ts';
import { NbdClient } from '../support/nbd-client.ts';

const MiB = 1024 * 1024;
const SIZE = 64 * MiB;
/** Clients under load on two cores. */
const TIMEOUT_MS = 120_000;

const exec = promisify(execFile);
/** Fails with what the client printed. */
async function run(file: string, args: string[]): Promise<string> {
  try {
    const { stdout } = await exec(file, args, { timeout: TIMEOUT_MS });
    return stdout;
  } catch (thrown) {
    const { stdout, stderr, message } = thrown as { stdout?: string; stderr?: string; message: string };
    throw new Error(`${file} ${args.join(' ')}: ${message}\n${stdout}\n${stderr}`);
  }
}

describe('NBD clients of others', { timeout: TIMEOUT_MS }, () => {
  let disk: TestDisk;
  let uri: string;

  beforeEach(() => {
    disk = new TestDisk(SIZE);
    uri = `nbd+unix:///?socket=${disk.socket}`;
  });
  afterEach(() => disk.dispose());

  it('nbdinfo sees one export of the right size and abilities', async () => {
    const info = JSON.parse(await run('nbdinfo', ['--json', uri])) as {
      protocol: string;
      exports: Record<string, unknown>[];
    };
    expect(info.protocol).toBe('newstyle-fixed');
    expect(info.exports[0]).toMatchObject({
      'export-size': SIZE,
      is_read_only: false,
      can_flush: true,
      can_fua: true,
      can_trim: true,
      can_zero: true,
      can_multi_conn: true,
    });
    expect(await run('nbdinfo', ['--list', '--json', uri])).toContain('"export-name": "test"');
  });

  it('nbdcopy brings an image in and out, byte for byte, over several connections', async () => {
    const from = join(disk.dir, 'from');
    const back = join(disk.dir, 'back');
    const data = Buffer.concat([randomBytes(20 * MiB), Buffer.alloc(24 * MiB), randomBytes(20 * MiB)]);
    writeFileSync(from, data);
    writeFileSync(back, '');
    await run('nbdcopy', ['--flush', from, uri]);
    expect(disk.bytes().equals(data)).toBe(true);
    await run('nbdcopy', [uri, back]);
    expect(readFileSync(back).equals(data)).toBe(true);
  });

  it('qemu-img converts to it, and finds it identical', async () => {
    const from = join(disk.dir, 'from.raw');
    writeFileSync(from, Buffer.concat([randomBytes(8 * MiB), Buffer.alloc(56 * MiB)]));
    await run('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', from, uri]);
    expect(await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', from, uri])).toContain('identical');
  });

  it('qemu-io reads back what it wrote, zeroed, discarded and flushed', async () => {
    const commands = [
      'write -P 0xa5 0 1M',
      'write -P 0x5a -f 1048577 3333',
      'write -z 4M 1M',
      'write -P 0x77 8M 2M',
      'write -z -u 8M 64k',
      'discard 9M 1M',
      'flush',
      'read -P 0xa5 0 1M',
      'read -P 0x5a 1048577 3333',
      'read -P 0 4M 1M',
      'read -P 0 8M 64k',
      'read -P 0x77 8454144 512',
    ];
    const printed = await run('qemu-io', ['-f', 'raw', ...commands.flatMap((each) => ['-c', each]), uri]);
    expect(printed).not.toMatch(/fail|error/i);
    expect(disk.disk.counts().flushes).toBeGreaterThan(0);
  });

  it('fio verifies what its nbd engine wrote at random', async () => {
    await run('fio', [
      '--name=verify',
      '--ioengine=nbd',
      `--uri=${uri}`,
      '--rw=randwrite',
      '--bs=4k',
      `--size=${SIZE}`,
      '--io_size=16m',
      '--iodepth=16',
      '--fsync=64',
      '--verify=crc32c',
      '--do_verify=1',
      '--verify_state_save=0',
      `--output=${join(disk.dir, 'fio.log')}`,
    ]);
  });

  it('a client that talks nonsense is hung up on, and others go on', async () => {
    const other = await disk.client();
    const rude = await disk.client();
    rude.raw(Buffer.alloc(28, 0xff));
    await rude.hungUp();
    const early = await NbdClient.greet(disk.socket, 0xffffffff);
    await early.hungUp();
    await other.write(0, Buffer.alloc(512, 9));
    expect(await other.read(0, 512)).toEqual(Buffer.alloc(512, 9));
    other.close();
  });

  it('more clients than it serves are hung up on, and a place that is free again is given out', async () => {
    const clients = await Promise.all(Array.from({ length: 16 }, () => disk.client()));
    await expect(disk.client()).rejects.toThrow();
    clients.pop()?.close();
    while (disk.disk.counts().connections > 15) await new Promise(setImmediate);
    clients.push(await disk.client());
    for (const client of clients) client.close();
  });
});
