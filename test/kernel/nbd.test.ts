/** The disk's server before the kernel's own NBD client: nbd-client attaches it, and a file system lives on it. */

import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KernelDisk, kernelDiskPath } from '../../shared/disk/kernel-disk.ts';
import { TestDisk } from '../support/disk.ts';

const MiB = 1024 * 1024;
const DEVICE = '/dev/nbd0';
const execFileAsync = promisify(execFile);

const run = (file: string, ...args: string[]) =>
  execFileSync(file, args, { encoding: 'utf8', stdio: 'pipe' });

describe("the kernel's NBD client", () => {
  let disk: TestDisk;

  beforeEach(() => {
    disk = new TestDisk(32 * MiB);
    run('nbd-client', '-unix', disk.socket, DEVICE, '-N', 'test');
  });
  afterEach(() => {
    run('nbd-client', '-d', DEVICE);
    disk.dispose();
  });

  it('reads back what it wrote, and the image holds it once it was flushed', () => {
    const data = randomBytes(3 * MiB);
    const file = join(disk.dir, 'data');
    writeFileSync(file, data);
    run('dd', `if=${file}`, `of=${DEVICE}`, 'bs=64k', 'seek=16', 'conv=fsync', 'status=none');
    expect(disk.disk.counts().flushes).toBeGreaterThan(0);
    expect(
      disk
        .bytes()
        .subarray(MiB, 4 * MiB)
        .equals(data),
    ).toBe(true);
    run('dd', `if=${DEVICE}`, `of=${file}`, 'bs=1M', 'skip=1', 'count=3', 'iflag=direct', 'status=none');
    expect(readFileSync(file).equals(data)).toBe(true);
  });

  it('discards and zeroes what it is told to', () => {
    const file = join(disk.dir, 'ones');
    writeFileSync(file, Buffer.alloc(4 * MiB, 1));
    run('dd', `if=${file}`, `of=${DEVICE}`, 'bs=1M', 'conv=fsync', 'status=none');
    run('blkdiscard', '-o', `${MiB}`, '-l', `${MiB}`, DEVICE);
    run('blkdiscard', '-z', '-o', `${2 * MiB}`, '-l', `${MiB}`, DEVICE);
    const bytes = disk.bytes();
    expect(bytes.subarray(0, MiB).every((byte) => byte === 1)).toBe(true);
    expect(bytes.subarray(MiB, 3 * MiB).every((byte) => byte === 0)).toBe(true);
    expect(bytes.subarray(3 * MiB, 4 * MiB).every((byte) => byte === 1)).toBe(true);
  });

  it('makes a block device under a name of the guest, whose requests wait while the agent is away', async () => {
    const make = () =>
      new KernelDisk({
        vm: 'test',
        socketPath: disk.socket,
        connections: () => disk.disk.counts().connections,
        onFailed: (error) => expect.unreachable(String(error)),
      });
    const first = make();
    const path = kernelDiskPath('test');
    const device = readlinkSync(path);
    first.release();
    const data = randomBytes(MiB);
    const file = join(disk.dir, 'data');
    writeFileSync(file, data);
    disk.disk.end(); // as the agent's end
    const waiting = execFileAsync('dd', [`if=${file}`, `of=${path}`, 'bs=64k', 'oflag=direct', 'conv=fsync']);
    disk.reopen();
    const next = make();
    next.connect();
    await waiting;
    expect(readlinkSync(path)).toBe(device);
    expect(disk.bytes().subarray(0, MiB).equals(data)).toBe(true);
    next.remove();
    expect(existsSync(path)).toBe(false);
  });

  it('carries a file system, whose writes belong to the epoch they fell in', async () => {
    run('mkfs.ext4', '-q', DEVICE);
    const mount = join(disk.dir, 'mount');
    mkdirSync(mount);
    disk.disk.seal(1);
    await disk.takeAll();
    disk.disk.commit(1);
    run('mount', DEVICE, mount);
    const data = randomBytes(2 * MiB);
    writeFileSync(join(mount, 'file'), data);
    run('umount', mount);
    disk.disk.seal(2);
    const taken = Buffer.concat(await disk.takeAll());
    expect(taken.includes(data.subarray(0, 4096))).toBe(true);
    run('e2fsck', '-f', '-n', DEVICE);
  });
});
