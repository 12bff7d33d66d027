/** A standby's disk and image together: an epoch larger than memory should hold, applied now or after the agent's death. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StandbyDisk } from '../../backup/disk.ts';
import { emptyEpoch, StandbyImage } from '../../backup/image/standby-image.ts';
import { HostDisk } from '../../shared/disk/host-disk.ts';
import { encodeFrame, framed } from '../../shared/wire/frame.ts';
import { type Chunk, Codec, type Commit, digestHex, Kind, Region } from '../../shared/wire/messages.ts';

const MiB = 1024 * 1024;
const DISK_BYTES = 64 * MiB;
const RAM_BYTES = MiB;
const PIECE_BYTES = MiB - 4096;
/** 40 MiB: more than is kept in memory. */
const PIECES = 40;

describe("a standby's disk", () => {
  let dir: string;
  let host: HostDisk;
  let image: StandbyImage;

  beforeEach(() => {
    dir = mkdtempSync('/dev/shm/romulus-standby-');
    host = openHost();
    image = openImage();
    image.disk = new StandbyDisk(host);
    image.create('lineage', RAM_BYTES);
    image.disk.beginSync({ sizeBytes: DISK_BYTES, pair: '', nextPair: 'aa-1' });
  });
  afterEach(() => {
    image.close();
    host.close();
    rmSync(dir, { recursive: true, force: true });
  });

  function openHost(): HostDisk {
    return new HostDisk({
      vm: 'vm',
      path: join(dir, 'disk.img'),
      mapPath: join(dir, 'disk.map'),
      socketPath: join(dir, 'nbd.sock'),
      createBytes: DISK_BYTES,
      log: pino({ level: 'silent' }),
    });
  }
  const openImage = () => new StandbyImage({ dir: join(dir, 'image'), threads: 1, durability: 'memory' });
  const commit: Commit = {
    term: 1,
    epoch: 1,
    previous: 0,
    sentMs: 0,
    chunks: PIECES,
    stateBytes: 0,
    digest: digestHex(0n),
    stateDigest: digestHex(0n),
  };
  const expected = Buffer.alloc(DISK_BYTES);
  for (let i = 0; i < PIECES; i++) expected.fill(i + 1, i * MiB, i * MiB + PIECE_BYTES);

  /** Epoch 1, staged and committed as a receiver would. */
  async function commitLargeEpoch() {
    const staged = emptyEpoch();
    for (let i = 0; i < PIECES; i++) {
      const payload = Buffer.alloc(24 + PIECE_BYTES, i + 1);
      payload.writeBigUInt64LE(BigInt(i * MiB), 0);
      payload.writeBigUInt64LE(BigInt(PIECE_BYTES), 8);
      payload.writeBigUInt64LE(0n, 16);
      const chunk: Chunk = { epoch: 1, region: Region.disk, codec: Codec.none, rawBytes: payload.length };
      await image.stage(staged, chunk, payload);
      await image.journal.append(1, encodeFrame(Kind.chunk, i, chunk, framed(payload)));
    }
    await image.journal.append(1, encodeFrame(Kind.commit, PIECES, commit));
    image.commit(1);
    return staged;
  }
  const onDisk = () => readFileSync(join(dir, 'disk.img'));

  it('takes an epoch too large for memory from the journal', async () => {
    const staged = await commitLargeEpoch();
    expect(staged.disk).toEqual([]);
    expect(onDisk().equals(Buffer.alloc(DISK_BYTES))).toBe(true);
    await image.apply(staged, commit);
    expect(onDisk().equals(expected)).toBe(true);
    expect(host.disk.pair()).toBe('aa-1');
    expect(host.disk.counts().dirtyBytes).toBe(0);
  });

  it('gets a committed epoch after a restart, and a half-applied one again', async () => {
    await commitLargeEpoch();
    image.close();
    host.close();
    host = openHost();
    image = openImage();
    image.disk = new StandbyDisk(host);
    await image.recover();
    expect(image.committed).toBe(1);
    expect(onDisk().equals(expected)).toBe(true);
  });

  it('is no half of a pair any more once committed epochs were lost with the image', async () => {
    await commitLargeEpoch();
    image.close();
    rmSync(join(dir, 'image', 'image.ram'));
    image = openImage();
    image.disk = new StandbyDisk(host);
    await image.recover();
    expect(image.promotable).toBe(false);
    expect(host.disk.pair()).toBe('');
    expect(host.disk.counts().dirtyBytes).toBe(DISK_BYTES);
  });
});
