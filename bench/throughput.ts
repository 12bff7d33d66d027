/** What output commit costs many clients at once: requests a second of Redis in the guest, by redis-benchmark from outside. */

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { GUEST_ADDRESS, type Segment } from '../cli/lab/segment.ts';
import { RomulusError } from '../shared/errors.ts';

const run = promisify(execFile);
/** Clients that each wait for their answer before they ask again: redis-benchmark's own number, and many more. */
export const CLIENTS: readonly number[] = [50, 500];
const REQUESTS_PER_CLIENT = 60;

export interface ThroughputRow {
  kind: 'throughput';
  /** 0: unprotected. */
  epochMs: number;
  clients: number;
  requestsPerS: number;
  /** Of the unprotected guest's. */
  share: number;
}

/** SETs a second; needs `redis-benchmark` (redis-tools), else PREREQUISITE. */
export async function redisThroughput(segment: Segment, clients: number): Promise<number> {
  const [ip, ...rest] = segment.launcher;
  const load = ['-t', 'set', '-c', `${clients}`, '-n', `${clients * REQUESTS_PER_CLIENT}`, '--csv'];
  const { stdout } = await run(ip as string, [
    ...rest,
    'redis-benchmark',
    '-h',
    GUEST_ADDRESS,
    ...load,
  ]).catch((cause: Error) => {
    throw new RomulusError('PREREQUISITE', `redis-benchmark did not come to its end: ${cause.message}`, {
      hint: 'apt-get install redis-tools',
      cause,
    });
  });
  const perS = Number(/^"SET","([\d.]+)"/m.exec(stdout)?.[1]);
  if (!(perS > 0))
    throw new RomulusError('INTERNAL', `redis-benchmark printed no rate: ${stdout.slice(0, 200)}`);
  return perS;
}
