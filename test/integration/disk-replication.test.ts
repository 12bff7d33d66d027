/** A guest's disk between two agents' halves, over a real socket: at every committed epoch what it was at that epoch's pause. */

import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DiskStream } from '../../primary/output/disk.ts';
import { HostDisk } from '../../shared/disk/host-disk.ts';
import { NbdClient, NbdError } from '../support/nbd-client.ts';
import { Backup, Primary, RAM_BYTES, spec } from '../support/pair.ts';
import { random } from '../support/random.ts';
import { SyntheticSource } from '../support/synthetic.ts';

const MiB = 1024 * 1024;
const DISK_BYTES = 32 * MiB + 512;
const UNBOUND = 1e12;
const log = pino({ level: 'silent' });

/** A guest that writes to its disk while it runs, and whose pause lets no request through. */
class DiskGuest extends SyntheticSource {
  readonly #client: NbdClient;
  readonly #random = random(5);
  readonly #model: Buffer;
  readonly #span: number;
  #writing: Promise<void> = Promise.resolve();
  #runs = false;
  #over = false;
  /** What the disk held at the pause of each epoch of the present lineage, by hash. */
  readonly moments: string[] = [];

  /** `span`: bytes at the beginning of the disk it writes to. */
  constructor(client: NbdClient, model: Buffer, span: number) {
    super(RAM_BYTES, { seed: 1, pagesPerEpoch: 20, wholeShare: 0.1 });
    this.#client = client;
    this.#model = model;
    this.#span = span;
  }

  override async attach(): Promise<void> {
    this.#run();
  }

  override async pause(): Promise<void> {
    this.#runs = false;
    await this.#writing;
    this.moments.push(hash(this.#model));
    await super.pause();
  }

  override async resume(): Promise<void> {
    await super.resume();
    this.#run();
  }

  override async detach(): Promise<void> {
    this.#over = true;
    this.#runs = false;
    await this.#writing;
  }

  #run(): void {
    if (this.#runs || this.#over) return;
    this.#runs = true;
    this.#writing = (async () => {
      while (this.#runs) await this.#change();
    })().catch(() => {
      this.#over = true; // fenced: its disk takes nothing any more
    });
  }

  async #change(): Promise<void> {
    const offset = Math.floor(this.#random() * this.#span);
    const bytes = Math.min(this.#span - offset, 1 + Math.floor(this.#random() * 60_000));
    const value = 1 + Math.floor(this.#random() * 255);
    const kind = this.#random();
    if (kind < 0.8) await this.#client.write(offset, Buffer.alloc(bytes, value));
    else if (kind < 0.9) await this.#client.trim(offset, bytes);
    else await this.#client.zero(offset, bytes);
    this.#model.fill(kind < 0.8 ? value : 0, offset, offset + bytes);
  }
}

describe('a replicated disk between two hosts', () => {
  let dir: string;
  let backup: Backup;
  const hosts: HostDisk[] = [];
  let model: Buffer;
  let client: NbdClient;
  let primaryDisk: HostDisk;
  let standbyDisk: HostDisk | undefined;

  function open(side: string, createBytes?: number): HostDisk {
    const host = new HostDisk({
      vm: 'vm',
      path: join(dir, `${side}.img`),
      mapPath: join(dir, `${side}.map`),
      socketPath: join(dir, `${side}.sock`),
      ...(createBytes !== undefined && { createBytes }),
      log,
    });
    hosts.push(host);
    return host;
  }

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'romulus-disks-'));
    model = Buffer.alloc(DISK_BYTES);
    primaryDisk = open('a', DISK_BYTES);
    primaryDisk.disk.setWritable(true);
    client = await NbdClient.open(join(dir, 'a.sock'));
    standbyDisk = undefined;
    backup = new Backup();
    backup.openDisk = (_spec, createBytes) => {
      standbyDisk ??= open('b', createBytes);
      return standbyDisk;
    };
    await backup.start();
  });
  afterEach(async () => {
    client.close();
    await backup.stop();
    backup.remove();
    for (const host of hosts.splice(0)) host.close();
    rmSync(dir, { recursive: true, force: true });
  });

  async function makePrimary(span = DISK_BYTES) {
    const guest = new DiskGuest(client, model, span);
    const primary = await Primary.create(
      backup.endpoint,
      {},
      { disk: new DiskStream(primaryDisk, UNBOUND), spec },
      guest,
    );
    return { guest, primary };
  }
  const standbyHash = () => hash(readFileSync(join(dir, 'b.img')));

  it('holds at the last committed epoch exactly what the primary held at its pause', async () => {
    const { guest, primary } = await makePrimary();
    const enough = backup.trail.commits(25);
    await primary.replica.start();
    await enough;
    await primary.replica.stop({ forget: false });
    await backup.stop();
    const committed = backup.standby?.image.committed ?? 0;
    expect(committed).toBeGreaterThanOrEqual(25);
    expect(standbyHash()).toBe(guest.moments[committed - 1]);
    await backup.start();
  });

  it('is brought up to date from the journal when the agent died between commit and apply', async () => {
    const { guest, primary } = await makePrimary();
    const enough = backup.trail.commits(5);
    await primary.replica.start();
    await enough;
    for (let round = 0; round < 5; round++) {
      await backup.stop();
      const committed = backup.standby?.image.committed ?? 0;
      expect(standbyHash()).toBe(guest.moments[committed - 1]);
      const more = backup.trail.commits(4);
      await backup.start();
      await more;
    }
    await primary.replica.stop({ forget: false });
  });

  it('sends only what differs when a new lineage begins between the same two disks', async () => {
    const first = await makePrimary(4 * MiB);
    await client.write(0, Buffer.alloc(16 * MiB, 3));
    model.fill(3, 0, 16 * MiB);
    const enough = backup.trail.commits(3);
    await first.primary.replica.start();
    await enough;
    await first.primary.replica.stop({ forget: false });
    const dirtyBytes = primaryDisk.disk.counts().dirtyBytes;
    expect(dirtyBytes).toBeLessThan(16 * MiB);
    expect(primaryDisk.disk.pair()).toBe(standbyDisk?.disk.pair());
    const pair = primaryDisk.disk.pair();
    const second = await makePrimary(4 * MiB);
    const again = backup.trail.commits(3);
    await second.primary.replica.start();
    await again;
    const copiedBytes = second.primary.replica.status().disk?.copiedBytes;
    await second.primary.replica.stop({ forget: false });
    await backup.stop();
    expect(primaryDisk.disk.pair()).toBe(pair);
    expect(copiedBytes).toBeGreaterThan(0);
    expect(copiedBytes).toBeLessThan(16 * MiB);
    expect(standbyHash()).toBe(second.guest.moments[(backup.standby?.image.committed ?? 0) - 1]);
    await backup.start();
  });

  it('refuses every write to the standby until it is promoted', async () => {
    const { primary } = await makePrimary();
    const enough = backup.trail.commits(3);
    await primary.replica.start();
    await enough;
    const standby = await NbdClient.open(join(dir, 'b.sock'));
    await expect(standby.write(0, Buffer.alloc(512, 1))).rejects.toEqual(new NbdError(1));
    await backup.standby?.failover({ vm: 'vm', force: true, fencedBy: 'test' });
    await standby.write(0, Buffer.alloc(512, 1));
    standby.close();
    await primary.replica.stop({ forget: false });
  });

  it('refuses the writes of a fenced primary', async () => {
    const { primary } = await makePrimary();
    const enough = backup.trail.commits(3);
    await primary.replica.start();
    await enough;
    const fenced = primary.trail.state('FENCED');
    await backup.standby?.failover({ vm: 'vm', force: true, fencedBy: 'test' });
    await fenced;
    await expect(client.write(0, Buffer.alloc(512, 1))).rejects.toEqual(new NbdError(1));
    await primary.replica.stop({ forget: false });
  });

  it('says so when the two disks are of different sizes', async () => {
    standbyDisk = open('b', 16 * MiB);
    const { primary } = await makePrimary();
    const degraded = primary.trail.state('DEGRADED');
    await primary.replica.start();
    expect((await degraded).code).toBe('WIRE_GEOMETRY');
    await primary.replica.stop({ forget: false });
  });
});

function hash(data: Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}
