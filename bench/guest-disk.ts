/** The guest's own view of its disk: fio in it, on QEMU's own file access, on the agent's server, and on that under protection. */

import { setTimeout as delay } from 'node:timers/promises';
import { Connection } from '../cli/lab/connection.ts';
import { Lab, type LabOptions, VM } from '../cli/lab/lab.ts';
import { Segment } from '../cli/lab/segment.ts';
import { RomulusError } from '../shared/errors.ts';
import type { DiskRow, Load } from './disk.ts';

const RUNNER_PORT = 7004;
const BOOT_MS = 120_000;
const POLL_MS = 300;
const RUN_S = 4;
const DISK_MIB = 256;
/** What fio writes to; laid down before anything is measured. */
const SPAN_MIB = 64;

const LOADS: readonly Load[] = [
  { op: 'write', blockBytes: 4096, depth: 1, flushEvery: 0 },
  { op: 'write', blockBytes: 4096, depth: 16, flushEvery: 0 },
  { op: 'write', blockBytes: 65_536, depth: 4, flushEvery: 0 },
  { op: 'read', blockBytes: 4096, depth: 1, flushEvery: 0 },
];

/** Needs root. Two guests are up at the same time, and take turns. */
export async function benchGuestDisk(
  rounds: number,
  epochMs: number,
  onProgress: (line: string) => void,
): Promise<DiskRow[]> {
  const guest = {
    epochMs,
    memoryMiB: 384,
    workload: { structureMiB: 4, pagesPerStep: 1, stepsPerSecond: 2, load: true },
  };
  onProgress('disk: booting a guest on its file, and one on the agent');
  const plain = await up({ ...guest, plainDiskMiB: DISK_MIB });
  let served: Lab | undefined;
  try {
    served = await up({ ...guest, diskMiB: DISK_MIB });
    const epochs = await measure(served, rounds, (line) => onProgress(`${line}, protected`));
    for (const lab of [plain, served]) await lab.primary.client.unprotect(VM);
    const file = new Map<Load, number[]>();
    const nbd = new Map<Load, number[]>();
    for (let round = 0; round < rounds; round++) {
      for (const [lab, into] of [
        [plain, file],
        [served, nbd],
      ] as const) {
        for (const [each, rates] of await measure(lab, 1, onProgress)) {
          into.set(each, [...(into.get(each) ?? []), ...rates]);
        }
      }
    }
    return LOADS.flatMap((each) => {
      const base = median(file.get(each));
      return [
        row(each, 'file', base, base),
        row(each, 'nbd', median(nbd.get(each)), base),
        row(each, 'nbd+epochs', median(epochs.get(each)), base),
      ];
    });
  } finally {
    await plain.close();
    await served?.close();
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
    await told(lab, `dd if=/dev/urandom of=/dev/vda bs=1048576 count=${SPAN_MIB} && sync`);
    return lab;
  } catch (thrown) {
    await lab.close();
    throw thrown;
  }
}

async function measure(
  lab: Lab,
  rounds: number,
  onProgress: (line: string) => void,
): Promise<Map<Load, number[]>> {
  const rates = new Map<Load, number[]>();
  for (let round = 0; round < rounds; round++) {
    for (const each of LOADS) {
      onProgress(
        `disk: fio in the guest, ${each.op}s of ${each.blockBytes / 1024} KiB, ${each.depth} at a time`,
      );
      rates.set(each, [...(rates.get(each) ?? []), await fio(lab, each)]);
    }
  }
  return rates;
}

/** Requests a second. */
async function fio(lab: Lab, { op, blockBytes, depth }: Load): Promise<number> {
  const said = await told(
    lab,
    `fio --name=load --filename=/dev/vda --size=${SPAN_MIB}m --direct=1 --ioengine=libaio --iodepth=${depth} --rw=rand${op} --bs=${blockBytes} --time_based --runtime=${RUN_S} --output-format=json`,
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

function median(values: number[] = []): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
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
