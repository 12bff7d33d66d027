/** Checks of the Redis servers an agent leans on: the witness, which must keep what it confirmed, and the queue of jobs. */

import { Redis } from 'ioredis';
import type { AgentConfig } from '../../shared/config.ts';
import { checkRedisDurability, requiredSettings } from '../../shared/control/redis-durability.ts';
import { asRomulusError, RomulusError } from '../../shared/errors.ts';
import { type Finding, finding } from './finding.ts';

const ANSWER_TIMEOUT_MS = 2000;
/** Beyond this certificates begin and end at other times than on the other hosts, and logs do not fit together. */
const MAX_SKEW_MS = 2000;

/** Where a Redis is; a URL may hold a password, which is never shown. */
export interface RedisPlace {
  url?: string;
  socket?: string;
}

/** Nothing is missing where neither is configured: both are optional. */
export async function checkControl(config: Pick<AgentConfig, 'witness' | 'queue'>): Promise<Finding[]> {
  return [
    ...(await checkRedis(config.witness, {
      id: 'witness',
      what: 'witness of automatic failover',
      without: 'not configured: failover is by hand',
      check: checkRedisDurability,
      settings: requiredSettings,
    })),
    ...(await checkRedis(config.queue, {
      id: 'queue',
      what: 'queue of jobs',
      without: 'not configured: orders come by command and API',
      check: checkEviction,
      settings: { 'maxmemory-policy': 'noeviction' },
    })),
  ];
}

interface RedisCheck {
  id: string;
  what: string;
  without: string;
  /** Throws what is wrong with its settings. */
  check(redis: Redis): Promise<void>;
  settings: Record<string, string>;
}

async function checkRedis(place: RedisPlace | undefined, wanted: RedisCheck): Promise<Finding[]> {
  const { id, what, settings } = wanted;
  const needed = Object.entries(settings)
    .map((pair) => pair.join(' '))
    .join(', ');
  if (place === undefined)
    return [finding(id, what, 'info', { found: wanted.without, needed: 'optional', fix: '' })];
  const redis = connectTo(place);
  try {
    await redis.ping();
    await wanted.check(redis);
    const found = `${shown(place)} answers and keeps its word`;
    return [finding(id, what, 'ok', { found, needed, fix: '' }), await checkClock(redis, id, place)];
  } catch (thrown) {
    const error = asRomulusError(thrown);
    const unsafe = error.code === 'WITNESS_UNSAFE';
    const found = unsafe ? error.message : `${shown(place)} does not answer: ${error.message}`;
    const fix = unsafe
      ? mend(place, settings)
      : `systemctl start redis-server (there), then: ${cli(place)} ping`;
    return [finding(id, what, 'missing', { found, needed, fix })];
  } finally {
    redis.disconnect();
  }
}

/** One attempt, and an error instead of a wait. */
function connectTo({ url, socket }: RedisPlace): Redis {
  const settings = {
    connectTimeout: ANSWER_TIMEOUT_MS,
    commandTimeout: ANSWER_TIMEOUT_MS,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  };
  const redis = url === undefined ? new Redis({ ...settings, path: socket ?? '' }) : new Redis(url, settings);
  redis.on('error', () => {}); // the command that fails says it
  return redis;
}

/** A queue that evicts loses jobs, and with them orders that were confirmed. */
async function checkEviction(redis: Redis): Promise<void> {
  const policy = /^maxmemory_policy:(\S+)/m.exec(await redis.info('memory'))?.[1];
  if (policy === 'noeviction') return;
  throw new RomulusError(
    'WITNESS_UNSAFE',
    `maxmemory-policy is "${policy ?? 'not there'}", must be "noeviction"`,
  );
}

/** The wall clock of this host beside that one's. No safety decision asks it; certificates and people do. */
async function checkClock(redis: Redis, id: string, place: RedisPlace): Promise<Finding> {
  const before = Date.now();
  const [seconds, micros] = (await redis.time()) as unknown as [string | number, string | number];
  const there = Number(seconds) * 1000 + Number(micros) / 1000;
  const skewMs = Math.max(0, Math.abs(there - (before + Date.now()) / 2) - (Date.now() - before) / 2);
  return finding(`${id}-clock`, `clock beside that of the ${id}`, skewMs <= MAX_SKEW_MS ? 'ok' : 'absent', {
    found: `${Math.round(skewMs)} ms apart from ${shown(place)}`,
    needed: `at most ${MAX_SKEW_MS} ms`,
    fix: 'apt-get install -y chrony && chronyc makestep (on both)',
  });
}

/** The command that sets this at once and writes it down; replicas and clusters are for a person to take apart. */
function mend(place: RedisPlace, settings: Record<string, string>): string {
  const pairs = Object.entries(settings).map((pair) => pair.join(' '));
  return `${cli(place)} config set ${pairs.join(' ')} && ${cli(place)} config rewrite; it must have no replicas`;
}

/** `redis-cli` for that server; a password is asked for, not shown. */
function cli({ url, socket }: RedisPlace): string {
  if (url === undefined) return `redis-cli -s ${socket}`;
  const { hostname, port, password, protocol } = new URL(url);
  return `redis-cli -h ${hostname} -p ${port || 6379}${protocol === 'rediss:' ? ' --tls' : ''}${password ? ' --askpass' : ''}`;
}

function shown({ url, socket }: RedisPlace): string {
  if (url === undefined) return socket ?? '';
  const { hostname, port } = new URL(url);
  return `${hostname}:${port || 6379}`;
}
