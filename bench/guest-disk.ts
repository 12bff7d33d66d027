/** The guest's own view of its disk: fio in it, on QEMU's own file access, on the agent's server, and on that under protection. */

import { setTimeout as delay } from 'node:timers/promises';
import { Connection } from '../cli/lab/connection.ts';
import { Lab, type LabOptions, VM } from '../cli/lab/lab.ts';
import { Segment } from '../cli/lab/segment.ts';
import { RomulusError } from '../shared/errors.ts';
import { median } from '../shared/samples.ts';
import type { DiskRow, Load } from './disk.ts';

const RUNNER_PORT = 7004;
const BOOT_MS = 120_000;
const POLL_MS = 300;
const RUN_S = 4;
const DISK_MIB = 256;
/** What fio writes to; laid down before anything is measured. */
const SPAN_MIB = 64;
const SERVED = '/dev/vda';
const PLAIN = '/dev/vdb';

const LOADS: readonly Load[] = [
  { op: 'write', blockBytes: 4096, depth: 1, flushEvery: 0 },
  { op: 'write', blockBytes: 4096, depth: 16, flushEvery: 0 },
  { op: 'write', blockBytes: 65_536, depth: 4, flushEvery: 0 },
  { op: 'read', blockBytes: 4096, depth: 1, flushEvery: 0 },
];

/** Needs root. One guest with a disk of each kind, so that nothing differs but the way to it. */
export async function benchGuestDisk(
  rounds: number,
  epochMs: number,
  onProgress: (line: string) => void,
): Promise<DiskRow[]> {
  onProgress('disk: booting a guest');
  const lab = await up({
    epochMs,
    memoryMiB: 384,
    workload: { structureMiB: 4, pagesPerStep: 1, stepsPerSecond: 2, load: true },
    diskMiB: DISK_MIB,
    plainDiskMiB: DISK_MIB,
  });
  try {
    const epochs = new Rates();
    await measure(lab, rounds, [[SERVED, epochs]], (line) => onProgress(`${line}, protected`));
    await lab.primary.client.unprotect(VM);
    const file = new Rates();
    const nbd = new Rates();
    const both = [
      [PLAIN, file],
      [SERVED, nbd],
    ] as const;
    await measure(lab, rounds, both, onProgress);
    return LOADS.flatMap((each) => {
      const base = file.median(each);
      return [
        row(each, 'file', base, base),
        row(each, 'nbd', nbd.median(each), base),
        row(each, 'nbd+epochs', epochs.median(each), base),
      ];
    });
  } finally {
    await lab.close();
  }
}

/** Requests a second, by load. */
class Rates {
  readonly #of = new Map<Load, number[]>();

  add(load: Load, rate: number): void {
    this.#of.set(load, [...(this.#of.get(load) ?? []), rate]);
  }

  median(load: Load): number {
    return median(this.#of.get(load) ?? []);
  }
}

async function up(options: Omit<LabOptions, 'segment'>): Promise<Lab> {
  const lab = await Lab.create({ ...options, segment: Segment.create() });
  try {
    await lab.start();
    await lab.protect();
    const deadline = performance.now() + BOOT_MS;
    for (;;) {
      try {
        const said = await told(lab, `fio --version`);
        if (said.startsWith('fio')) break;
      } catch (thrown) {
        if (performance.now() > deadline) throw thrown;
      }
      await delay(POLL_MS);
    }
    for (const device of [SERVED, PLAIN])
      await told(lab, `dd if=/dev/urandom of=${device} bs=1048576 count=${SPAN_MIB} && sync`);
    return lab;
  } catch (thrown) {
    await lab.close();
    throw thrown;
  }
}

/** The devices take turns with each load. */
async function measure(
  lab: Lab,
  rounds: number,
  devices: readonly (readonly [device: string, rates: Rates])[],
  onProgress: (line: string) => void,
): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    for (const load of LOADS) {
      const { op, blockBytes, depth } = load;
      onProgress(`disk: fio in the guest, ${op}s of ${blockBytes / 1024} KiB, ${depth} at a time`);
      for (const [device, rates] of devices) rates.add(load, await fio(lab, device, load));
    }
  }
}

/** Requests a second. */
async function fio(lab: Lab, device: string, { op, blockBytes, depth }: Load): Promise<number> {
  const said = await told(
    lab,
    `fio --name=load --filename=${device} --size=${SPAN_MIB}m --direct=1 --ioengine=libaio --iodepth=${depth} --rw=rand${op} --bs=${blockBytes} --time_based --runtime=${RUN_S} --output-format=json`,
  );
  try {
    const { jobs } = JSON.parse(said.slice(said.indexOf('{'))) as {
      jobs: Record<'read' | 'write', { iops: number }>[];
    };
    return jobs[0]?.[op].iops ?? 0;
  } catch (cause) {
    throw new RomulusError('INTERNAL', `fio in the guest said: ${said.slice(0, 500)}`, { cause });
  }
}

/** Runs a line in the guest and returns all it printed. */
async function told(lab: Lab, line: string): Promise<string> {
  const connection = new Connection(lab.segment as Segment, RUNNER_PORT);
  let said = '';
  try {
    await connection.write(`${line}\n`);
    for (;;) said += (await connection.read()).toString();
  } catch (thrown) {
    if (said === '') throw thrown;
    return said;
  } finally {
    await connection.close();
  }
}

function row(load: Load, access: DiskRow['access'], requestsPerS: number, base: number): DiskRow {
  return {
    kind: 'disk',
    client: 'guest',
    access,
    ...load,
    requestsPerS: Math.round(requestsPerS),
    mibPerS: Math.round((requestsPerS * load.blockBytes) / 2 ** 20),
    overhead: Math.round((base / requestsPerS - 1) * 1000) / 1000,
  };
}
