/** The disk's bookkeeping: which bytes belong to which epoch, what the dirty map says, and what outlives the process. */

import { closeSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { engine } from '../../native/index.ts';
import { BLOCK_BYTES, recordsOf, TestDisk } from '../support/disk.ts';
import { type NbdClient, NbdError, NbdFlag } from '../support/nbd-client.ts';

const MiB = 1024 * 1024;
const SIZE = 64 * MiB;

describe('a replicated disk', () => {
  const disks: TestDisk[] = [];
  const clients: NbdClient[] = [];
  function make(options = {}, sizeBytes = SIZE): TestDisk {
    const disk = new TestDisk(sizeBytes, options);
    disks.push(disk);
    return disk;
  }
  async function connect(disk: TestDisk): Promise<NbdClient> {
    const client = await disk.client();
    clients.push(client);
    return client;
  }
  afterEach(() => {
    for (const client of clients.splice(0)) client.close();
    for (const disk of disks.splice(0)) disk.dispose();
  });
  const filled = (bytes: number, value: number) => Buffer.alloc(bytes, value);
  /** In step with its pair: nothing differs. */
  const paired = (disk: TestDisk) => disk.disk.clearDirty();

  it('gives an epoch what was written before its seal and nothing behind it', async () => {
    const disk = make();
    const client = await connect(disk);
    await client.write(BLOCK_BYTES, filled(BLOCK_BYTES, 1));
    disk.disk.seal(1);
    await client.write(3 * BLOCK_BYTES, filled(BLOCK_BYTES, 2));
    const first = await disk.takeAll();
    expect(recordsOf(first)).toEqual([{ offset: BLOCK_BYTES, bytes: BLOCK_BYTES, op: 'data' }]);
    disk.disk.seal(2);
    expect(recordsOf(await disk.takeAll())).toEqual([
      { offset: 3 * BLOCK_BYTES, bytes: BLOCK_BYTES, op: 'data' },
    ]);
  });

  it('keeps what a sealed block held when it is overwritten before it was sent', async () => {
    const disk = make();
    const other = make();
    const client = await connect(disk);
    await client.write(0, filled(4 * MiB, 1));
    disk.disk.seal(1);
    await client.write(MiB + 100, filled(2 * MiB, 2));
    expect(disk.disk.counts().preservedBytes).toBeGreaterThanOrEqual(2 * MiB);
    await other.disk.apply(await disk.takeAll());
    expect(other.bytes().equals(Buffer.concat([filled(4 * MiB, 1), filled(SIZE - 4 * MiB, 0)]))).toBe(true);
    disk.disk.seal(2);
    await other.disk.apply(await disk.takeAll());
    expect(other.bytes().equals(disk.bytes())).toBe(true);
  });

  it('makes a write wait while there is no room to keep what it would overwrite, and lets it go on then', async () => {
    const disk = make({ preservedBytes: MiB });
    const client = await connect(disk);
    await client.write(0, filled(8 * MiB, 1));
    disk.disk.seal(1);
    let done = false;
    const writing = client.write(0, filled(8 * MiB, 2)).then(() => {
      done = true;
    });
    while (disk.disk.counts().preservedBytes < MiB) await new Promise(setImmediate);
    expect(done).toBe(false);
    const other = make();
    await other.disk.apply(await disk.takeAll());
    await writing;
    expect(
      other
        .bytes()
        .subarray(0, 8 * MiB)
        .equals(filled(8 * MiB, 1)),
    ).toBe(true);
  });

  it('lets a waiting write go on when the epoch is given up, and sends it all with the next', async () => {
    const disk = make({ preservedBytes: MiB });
    const other = make();
    const client = await connect(disk);
    await client.write(0, filled(8 * MiB, 1));
    disk.disk.seal(1);
    const writing = client.write(0, filled(8 * MiB, 2));
    while (disk.disk.counts().preservedBytes < MiB) await new Promise(setImmediate);
    disk.disk.giveUp();
    await writing;
    disk.disk.seal(1);
    await other.disk.apply(await disk.takeAll());
    expect(other.bytes().equals(disk.bytes())).toBe(true);
  });

  it('gives an epoch captured anew all that its first try had', async () => {
    const disk = make();
    const client = await connect(disk);
    await client.write(0, filled(BLOCK_BYTES, 1));
    disk.disk.seal(5);
    await disk.takeAll();
    await client.write(BLOCK_BYTES, filled(BLOCK_BYTES, 1));
    disk.disk.seal(5);
    expect(recordsOf(await disk.takeAll())).toEqual([{ offset: 0, bytes: 2 * BLOCK_BYTES, op: 'data' }]);
  });

  it('sends trims and zeroes as such, and what was written over them as data', async () => {
    const disk = make();
    const client = await connect(disk);
    await client.write(0, filled(16 * BLOCK_BYTES, 1));
    disk.disk.seal(1);
    await disk.takeAll();
    await client.trim(0, 4 * BLOCK_BYTES);
    await client.zero(4 * BLOCK_BYTES, 4 * BLOCK_BYTES, NbdFlag.noHole);
    await client.write(BLOCK_BYTES, filled(BLOCK_BYTES, 3));
    disk.disk.seal(2);
    expect(recordsOf(await disk.takeAll())).toEqual([
      { offset: 0, bytes: BLOCK_BYTES, op: 'trim' },
      { offset: BLOCK_BYTES, bytes: BLOCK_BYTES, op: 'data' },
      { offset: 2 * BLOCK_BYTES, bytes: 2 * BLOCK_BYTES, op: 'trim' },
      { offset: 4 * BLOCK_BYTES, bytes: 4 * BLOCK_BYTES, op: 'zero' },
    ]);
  });

  it('sends the holes of a sparse image as holes', async () => {
    const disk = make({}, 128 * MiB);
    const client = await connect(disk);
    await client.write(64 * MiB, filled(MiB, 1));
    disk.disk.beginCopy(true);
    disk.disk.seal(0);
    const payloads = await disk.takeAll();
    expect(payloads.reduce((sum, payload) => sum + payload.length, 0)).toBeLessThan(2 * MiB);
    const other = make({}, 128 * MiB);
    await other.disk.apply(payloads);
    expect(other.bytes().equals(disk.bytes())).toBe(true);
  });

  it('refuses every write of a disk that is shut, and answers reads', async () => {
    const disk = make();
    const client = await connect(disk);
    disk.disk.setWritable(false);
    await expect(client.write(0, filled(512, 1))).rejects.toEqual(new NbdError(1));
    await expect(client.trim(0, BLOCK_BYTES)).rejects.toEqual(new NbdError(1));
    expect(await client.read(0, 512)).toEqual(filled(512, 0));
    expect(disk.disk.counts().refused).toBe(2);
  });

  it('says that everything differs until the disks were once a pair', () => {
    const disk = make();
    expect(disk.disk.counts().dirtyBytes).toBe(SIZE);
    expect(disk.disk.pair()).toBe('');
  });

  it('takes a block out of the dirty map when its epoch is committed, unless a later one changed it', async () => {
    const disk = make();
    const client = await connect(disk);
    paired(disk);
    await client.write(0, filled(BLOCK_BYTES, 1));
    await client.write(MiB, filled(BLOCK_BYTES, 1));
    disk.disk.seal(1);
    await disk.takeAll();
    await client.write(MiB, filled(BLOCK_BYTES, 2));
    disk.disk.commit(1);
    expect(disk.disk.counts().dirtyBytes).toBe(64 * 1024);
    disk.disk.seal(2);
    await disk.takeAll();
    disk.disk.commit(2);
    expect(disk.disk.counts().dirtyBytes).toBe(0);
  });

  it('keeps in its dirty map what was sealed or sent and not committed', async () => {
    const disk = make();
    const client = await connect(disk);
    paired(disk);
    await client.write(0, filled(BLOCK_BYTES, 1));
    disk.disk.seal(1);
    await disk.takeAll();
    await client.write(4 * MiB, filled(BLOCK_BYTES, 1));
    disk.disk.seal(2);
    expect(disk.disk.counts().dirtyBytes).toBe(2 * 64 * 1024);
  });

  it('remembers pair and dirty blocks over the end of the process', async () => {
    const disk = make();
    const client = await connect(disk);
    paired(disk);
    disk.disk.setPair('pair-1');
    await client.write(8 * MiB, filled(BLOCK_BYTES, 7));
    client.close();
    disk.reopen();
    expect(disk.disk.pair()).toBe('pair-1');
    expect(disk.disk.counts().dirtyBytes).toBe(64 * 1024);
    disk.disk.beginCopy(false);
    disk.disk.seal(0);
    expect(recordsOf(await disk.takeAll())).toEqual([{ offset: 8 * MiB, bytes: 64 * 1024, op: 'data' }]);
  });

  it('calls for the end of an epoch that has changed much, and slows the guest beyond the bound', async () => {
    const disk = make({ runningBytes: 4 * MiB });
    const client = await connect(disk);
    disk.disk.setPaced(true);
    await client.write(0, filled(2 * MiB, 1));
    while (disk.pressed === 0) await new Promise(setImmediate);
    await client.write(2 * MiB, filled(2 * MiB, 1));
    const beganMs = performance.now();
    for (let i = 0; i < 10; i++) await client.write(8 * MiB + i * BLOCK_BYTES, filled(BLOCK_BYTES, 1));
    expect(performance.now() - beganMs).toBeGreaterThan(90);
    expect(disk.pressed).toBe(1);
  });

  it('refuses a payload that reaches beyond the disk, with nothing written', async () => {
    const disk = make();
    const payload = Buffer.alloc(24 + BLOCK_BYTES, 1);
    payload.writeBigUInt64LE(BigInt(SIZE), 0);
    payload.writeBigUInt64LE(BigInt(BLOCK_BYTES), 8);
    payload.writeUInt32LE(0, 16);
    payload.writeUInt32LE(0, 20);
    await expect(disk.disk.expect(payload)).rejects.toMatchObject({ code: 'EBADMSG' });
    expect(disk.bytes().equals(filled(SIZE, 0))).toBe(true);
  });

  it('is connected to for the kernel up to where requests begin, by its own name only', async () => {
    const disk = make();
    const { fd, sizeBytes, flags } = engine().connectNbd(disk.socket, 'test');
    const [hasFlags, flush, fua] = [1, 1 << 2, 1 << 3];
    expect(sizeBytes).toBe(SIZE);
    expect(flags & (hasFlags | flush | fua)).toBe(hasFlags | flush | fua);
    expect(disk.disk.counts().connections).toBe(1);
    closeSync(fd);
    while (disk.disk.counts().connections > 0) await new Promise(setImmediate);
    expect(() => engine().connectNbd(disk.socket, 'another')).toThrow(/hung up/);
    expect(() => engine().connectNbd(`${disk.socket}.not`, 'test')).toThrow(/ENOENT/);
  });

  it('is opened by one process at a time', () => {
    const disk = make();
    expect(() => make({ path: disk.image })).toThrow(/EBUSY/);
  });
});
