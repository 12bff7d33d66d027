/** compose.yaml: two agents that know each other, and a witness that keeps what it confirmed. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseConfig } from '../../shared/config.ts';
import { checkRedisDurability, requiredSettings } from '../../shared/control/redis-durability.ts';

const root = new URL('../../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), 'utf8');

interface Service {
  command?: string[];
  volumes?: string[];
  ports?: string[];
  depends_on?: Record<string, { condition: string }>;
}

const compose = parse(read('compose.yaml'), { merge: true }) as {
  services: Record<string, Service>;
  volumes: Record<string, unknown>;
};
const witness = compose.services.witness as Service;
const [program = '', ...settings] = witness.command ?? [];

describe('the witness of compose.yaml', () => {
  it('has every setting that the agents ask a witness for', () => {
    const given = Object.fromEntries(
      settings.flatMap((word, at) => (word.startsWith('--') ? [[word.slice(2), settings[at + 1]]] : [])),
    );
    expect(program).toBe('redis-server');
    expect(given).toMatchObject(requiredSettings);
  });

  it('started as it is written there passes the check that agents make', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'romulus-compose-'));
    const socket = join(dir, 'redis.sock');
    const child = spawn(program, [...settings, '--port', '0', '--unixsocket', socket, '--dir', dir], {
      stdio: 'ignore',
    });
    const redis = new Redis({ path: socket, maxRetriesPerRequest: null, retryStrategy: () => 50 });
    redis.on('error', () => {}); // until it listens
    try {
      await checkRedisDurability(redis);
    } finally {
      redis.disconnect();
      child.kill('SIGKILL');
      await once(child, 'exit');
      rmSync(dir, { recursive: true, force: true });
    }
  });

  it('keeps its data in a volume, and is reached by nobody outside', () => {
    expect(witness.volumes).toEqual(['witness:/data']);
    expect(compose.volumes).toHaveProperty('witness');
    expect(witness.ports).toBeUndefined();
  });
});

describe('the agents of compose.yaml', () => {
  it.each([
    ['a', 'b'],
    ['b', 'a'],
  ])('%s has a good config, over TLS, with %s as its peer and the one witness', (node, peer) => {
    const mounted = compose.services[node]?.volumes?.find((volume) => volume.includes('agent.yaml')) ?? '';
    const config = parseConfig(read(mounted.split(':')[0] ?? ''), '/etc/romulus/agent.yaml');
    expect(config.node).toBe(node);
    expect(config.tls).toBeDefined();
    // Compose gives every service its name as a host name.
    expect(config.peers[peer]?.address).toEqual({ host: peer, port: config.listen.port });
    expect(config.witness?.url).toBe('redis://witness:6379');
    expect(config.queue?.url).toBe('redis://witness:6379');
    expect(compose.services[node]?.depends_on).toMatchObject({
      witness: { condition: 'service_healthy' },
      pki: { condition: 'service_completed_successfully' },
    });
  });
});
