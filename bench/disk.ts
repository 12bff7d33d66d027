/** `romulus bench disk`: what the way over the agent's NBD server costs, against QEMU's own access to the same file, and under epochs. */

import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { Segment } from '../cli/lab/segment.ts';
import { CHUNK_HEADROOM_BYTES, type Disk } from '../native/index.ts';
import { HostDisk } from '../shared/disk/host-disk.ts';
import { RomulusError } from '../shared/errors.ts';
import { median } from '../shared/samples.ts';
import { benchGuestDisk } from './guest-disk.ts';

const run = promisify(execFile);
const MiB = 1024 * 1024;
const IMAGE_BYTES = 512 * MiB;
const POLL_MS = 10;

/** One kind of load. */
export interface Load {
  op: 'read' | 'write';
  blockBytes: number;
  depth: number;
  /** Writes between two flushes; 0: none. */
  flushEvery: number;
}

export interface DiskRow extends Load {
  kind: 'disk';
  /** `guest`: fio in a guest. `qemu`: qemu-img bench, which goes through QEMU's block layer. `fio`: its nbd engine, straight to the server. */
  client: 'guest' | 'qemu' | 'fio';
  /** `file`: QEMU's own access. `qemu-nbd`: QEMU's server. `nbd`: ours, unprotected. `nbd+epochs`: ours, an epoch sealed and taken every 25 ms. */
  access: 'file' | 'qemu-nbd' | 'nbd' | 'nbd+epochs';
  /** Median of the rounds. */
  requestsPerS: number;
  mibPerS: number;
  /** Time of a request more than with the baseline of the same client and load (`file`, `qemu-nbd`), as a share; 0 for those. */
  overhead: number;
}

export interface DiskBenchOptions {
  /** Every load is measured so often, all accesses in turn, and the median counts. */
  rounds: number;
  epochMs: number;
  onProgress(line: string): void;
}

const LOADS: readonly Load[] = [
  { op: 'write', blockBytes: 4096, depth: 1, flushEvery: 0 },
  { op: 'write', blockBytes: 4096, depth: 16, flushEvery: 0 },
  { op: 'write', blockBytes: 4096, depth: 1, flushEvery: 32 },
  { op: 'write', blockBytes: 65_536, depth: 8, flushEvery: 0 },
  { op: 'read', blockBytes: 4096, depth: 1, flushEvery: 0 },
  { op: 'read', blockBytes: 65_536, depth: 8, flushEvery: 0 },
];

export async function benchDisk({ rounds, epochMs, onProgress }: DiskBenchOptions): Promise<DiskRow[]> {
  const place = new Place();
  try {
    await place.open();
    const rows: DiskRow[] = [];
    for (const load of LOADS) {
      onProgress(`disk: ${load.op}s of ${load.blockBytes / 1024} KiB, ${load.depth} at a time`);
      rows.push(...(await measure('qemu', ['file', 'nbd', 'nbd+epochs'], load, place, rounds, epochMs)));
      rows.push(...(await measure('fio', ['qemu-nbd', 'nbd', 'nbd+epochs'], load, place, rounds, epochMs)));
    }
    if (Segment.missing() === undefined) rows.unshift(...(await benchGuestDisk(rounds, epochMs, onProgress)));
    return rows;
  } finally {
    await place.close();
  }
}

/** Image, servers and sockets, in a folder of their own. */
class Place {
  readonly dir = mkdtempSync(join(tmpdir(), 'romulus-bench-'));
  readonly file = join(this.dir, 'file.img');
  readonly theirs = join(this.dir, 'qemu-nbd.sock');
  readonly ours = join(this.dir, 'ours.sock');
  readonly #log = pino({ level: 'silent' });
  #served: HostDisk | undefined;
  #standby: HostDisk | undefined;
  #end: () => Promise<void> = async () => {};

  get disk(): Disk {
    return needed(this.#served).disk;
  }

  get standby(): Disk {
    return needed(this.#standby).disk;
  }

  async open(): Promise<void> {
    writeFileSync(this.file, '');
    truncateSync(this.file, IMAGE_BYTES);
    const own = (name: string) =>
      new HostDisk({
        vm: name,
        path: join(this.dir, `${name}.img`),
        mapPath: join(this.dir, `${name}.map`),
        socketPath: join(this.dir, `${name}.sock`),
        createBytes: IMAGE_BYTES,
        log: this.#log,
      });
    this.#served = own('ours');
    this.#served.disk.setWritable(true);
    // In step with its pair, as a protected guest's disk is: the dirty map works.
    this.#served.disk.clearDirty();
    this.#standby = own('standby');
    const server = spawn('qemu-nbd', ['-f', 'raw', '-t', '-e', '16', '-k', this.theirs, this.file], {
      stdio: 'ignore',
    });
    const gone = new Promise<void>((resolve) => {
      server.once('exit', () => resolve());
      server.once('error', () => resolve());
    });
    this.#end = async () => {
      server.kill('SIGKILL');
      await gone;
    };
    while (!existsSync(this.theirs)) {
      if (server.exitCode !== null || server.pid === undefined) throw prerequisite('qemu-utils');
      await delay(POLL_MS);
    }
    // No load meets a hole, wherever it goes.
    for (const target of [this.uri('qemu-nbd'), this.uri('nbd')])
      await qemu({ op: 'write', blockBytes: MiB, depth: 4, flushEvery: 0 }, target, IMAGE_BYTES / MiB);
  }

  uri(access: DiskRow['access']): string {
    if (access === 'file') return this.file;
    return `nbd+unix:///?socket=${access === 'qemu-nbd' ? this.theirs : this.ours}`;
  }

  async close(): Promise<void> {
    await this.#end();
    this.#served?.close();
    this.#standby?.close();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

async function measure(
  client: DiskRow['client'],
  accesses: DiskRow['access'][],
  load: Load,
  place: Place,
  rounds: number,
  epochMs: number,
): Promise<DiskRow[]> {
  const rates = new Map<DiskRow['access'], number[]>(accesses.map((access) => [access, []]));
  for (let round = 0; round < rounds; round++) {
    for (const access of accesses) {
      const epochs = access === 'nbd+epochs' ? new Epochs(place, epochMs) : undefined;
      const go = client === 'qemu' ? qemu : fio;
      try {
        rates.get(access)?.push(await go(load, place.uri(access)));
      } finally {
        await epochs?.stop();
      }
    }
  }
  const rate = (access: DiskRow['access']) => median(rates.get(access) ?? []);
  const baseline = rate(accesses[0] ?? 'file');
  return accesses.map((access) => {
    const requestsPerS = rate(access);
    return {
      kind: 'disk',
      client,
      access,
      ...load,
      requestsPerS: Math.round(requestsPerS),
      mibPerS: Math.round((requestsPerS * load.blockBytes) / MiB),
      overhead: Math.round((baseline / requestsPerS - 1) * 1000) / 1000,
    };
  });
}

/** Seals, takes, applies and commits as a protected guest's epochs do, both ends in this process and no link between. */
class Epochs {
  readonly #done: Promise<void>;
  #stopped = false;

  constructor(place: Place, epochMs: number) {
    this.#done = this.#run(place, epochMs);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#done;
  }

  async #run({ disk, standby }: Place, epochMs: number): Promise<void> {
    disk.setPaced(true);
    for (let epoch = 1; !this.#stopped; epoch++) {
      await delay(epochMs);
      disk.seal(epoch);
      for (let complete = false; !complete; ) {
        const taken = await disk.take();
        complete = taken.complete;
        const payloads = taken.chunks.map(({ buffer, payloadBytes }) =>
          buffer.subarray(CHUNK_HEADROOM_BYTES, CHUNK_HEADROOM_BYTES + payloadBytes),
        );
        await standby.apply(payloads);
        for (const { slab } of taken.chunks) disk.release(slab);
      }
      disk.commit(epoch);
    }
    disk.giveUp();
    disk.setPaced(false);
  }
}

/** Requests a second through QEMU's block layer. */
async function qemu(load: Load, target: string, count?: number): Promise<number> {
  const requests = count ?? (load.flushEvery > 0 ? 2000 : load.blockBytes > 4096 ? 16_000 : 40_000);
  const args = ['bench', '-f', 'raw', '-t', 'writeback', '-c', String(requests), '-d', String(load.depth)];
  args.push('-s', String(load.blockBytes));
  if (load.op === 'write') args.push('-w');
  if (load.flushEvery > 0) args.push(`--flush-interval=${load.flushEvery}`);
  const printed = await output('qemu-img', [...args, target], 'qemu-utils');
  const seconds = Number(/Run completed in ([\d.]+) seconds/.exec(printed)?.[1]);
  if (!(seconds > 0)) throw new RomulusError('INTERNAL', `qemu-img bench said: ${printed.trim()}`);
  return requests / seconds;
}

/** Requests a second at random places, straight to the server. */
async function fio(load: Load, uri: string): Promise<number> {
  const printed = await output(
    'fio',
    [
      ...['--name=load', '--ioengine=nbd', `--uri=${uri}`, `--rw=rand${load.op}`, `--bs=${load.blockBytes}`],
      ...[`--iodepth=${load.depth}`, '--time_based', '--runtime=2', '--output-format=json'],
      ...(load.flushEvery > 0 ? [`--fsync=${load.flushEvery}`] : []),
    ],
    'fio',
  );
  const { jobs } = JSON.parse(printed.slice(printed.indexOf('{'))) as {
    jobs: Record<'read' | 'write', { iops: number }>[];
  };
  return jobs[0]?.[load.op].iops ?? 0;
}

async function output(file: string, args: string[], packageName: string): Promise<string> {
  try {
    return (await run(file, args, { maxBuffer: 16 * MiB, cwd: tmpdir() })).stdout;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') throw prerequisite(packageName);
    throw cause;
  }
}

function prerequisite(packageName: string): RomulusError {
  return new RomulusError('PREREQUISITE', `${packageName} is not installed`, {
    hint: `apt-get install ${packageName}`,
  });
}

function needed<T>(value: T | undefined): T {
  if (value === undefined) throw new RomulusError('INTERNAL', 'the disks are not open');
  return value;
}
