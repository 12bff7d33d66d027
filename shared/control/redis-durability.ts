/** Whether a Redis keeps what it acknowledged (rule 2): asked at start, and again whenever its run id changes. */

import type { Redis } from 'ioredis';
import { RomulusError } from '../errors.ts';

/** Each setting the witness must have, and the line for redis.conf that gives it. */
export const requiredSettings = {
  appendonly: 'yes',
  appendfsync: 'always',
  'maxmemory-policy': 'noeviction',
  // A rewrite must not suspend fsync either, or the last writes before a power cut are gone.
  'no-appendfsync-on-rewrite': 'no',
} as const;

/** A lost write, or a second history on a promoted replica, would each let two nodes run one VM. */
export async function checkRedisDurability(redis: Redis): Promise<void> {
  let settings: Record<string, string>;
  let info: Map<string, string>;
  try {
    settings = pairs(await redis.config('GET', ...Object.keys(requiredSettings)));
    info = parseInfo(await redis.info());
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new RomulusError('WITNESS_UNREACHABLE', `The witness's settings cannot be read: ${reason}.`, {
      hint: 'The witness must answer CONFIG GET and INFO: romulus doctor',
      cause,
    });
  }
  const faults = Object.entries(requiredSettings)
    .filter(([name, value]) => settings[name] !== value)
    .map(([name, value]) => `${name} is "${settings[name] ?? 'not there'}", must be "${value}"`);
  if (info.get('role') !== 'master') faults.push('it is a replica');
  if (info.get('connected_slaves') !== '0') faults.push('it has replicas, which a failover could promote');
  if (info.get('cluster_enabled') !== '0') faults.push('it runs as a cluster, which fails over to replicas');
  if (info.get('aof_last_write_status') !== 'ok')
    faults.push('its last write to the append-only file failed');
  if (faults.length === 0) return;
  throw new RomulusError(
    'WITNESS_UNSAFE',
    `The witness may lose what it acknowledged: ${faults.join('; ')}.`,
    {
      hint: 'redis-server --appendonly yes --appendfsync always --maxmemory-policy noeviction, without replicas',
    },
  );
}

/** CONFIG GET answers a map under RESP3 and a flat list under RESP2. */
function pairs(reply: unknown): Record<string, string> {
  if (!Array.isArray(reply)) return reply as Record<string, string>;
  const map: Record<string, string> = {};
  for (let i = 0; i + 1 < reply.length; i += 2) map[String(reply[i])] = String(reply[i + 1]);
  return map;
}

function parseInfo(text: string): Map<string, string> {
  const lines = text.split('\r\n').filter((line) => line.includes(':'));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]));
}
