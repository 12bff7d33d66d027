/** Doctor and set-up: whatever is missing is named together with the exact command that mends it. */

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { examine } from '../../cli/doctor/checks.ts';
import { checkControl } from '../../cli/doctor/control.ts';
import { checkFreeMemory, checkImageDir } from '../../cli/doctor/memory.ts';
import { checkNode } from '../../cli/doctor/system.ts';
import { LabWitness } from '../../cli/lab/witness.ts';
import { check, compareVersions, mendingCommands, prerequisites } from '../../cli/prerequisites.mjs';
import { parseConfig } from '../../shared/config.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'romulus-doctor-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const example = { id: 'x', what: 'x', why: 'x', purposes: ['test' as const], packageName: 'x-package' };

describe('a prerequisite', () => {
  it('whose command is not there is missing', () => {
    expect(check({ ...example, command: ['romulus-no-such-program'] })).toMatchObject({
      ok: false,
      found: 'missing',
    });
  });

  it('that is older than the minimum is missing too, and its version is told', () => {
    const old = { ...example, command: ['echo', 'tool 6.9.1'], version: /tool (\S+)/, minimum: '7.2' };
    expect(check(old)).toMatchObject({ ok: false, found: 'too old: 6.9.1' });
    expect(check({ ...old, minimum: '6.10' })).toMatchObject({ ok: false });
    expect(check({ ...old, minimum: '6.9' })).toMatchObject({ ok: true, found: '6.9.1' });
  });

  it('is mended by one apt-get line for all, or by fresh package lists', () => {
    expect(mendingCommands([])).toEqual([]);
    expect(mendingCommands([{ ...example, command: [] }])).toEqual([
      ['apt-get', 'update'],
      ['apt-get', 'install', '-y', '--no-install-recommends', 'x-package'],
    ]);
    const { packageName: _, ...lists } = example;
    expect(mendingCommands([{ ...lists, command: [] }])).toEqual([['apt-get', 'update']]);
  });

  it('names for the demo every package whose absence the demo guest complains of', () => {
    const source = ['build.ts', 'services.ts']
      .map((name) => readFileSync(new URL(`../../guest/${name}`, import.meta.url), 'utf8'))
      .join('');
    const brought = prerequisites.filter((entry) => entry.purposes.includes('demo'));
    const names = new Set(brought.map((entry) => entry.packageName));
    for (const name of ['busybox-static', 'cpio', 'redis-server']) {
      expect(source).toContain(name);
      expect(names).toContain(name);
    }
  });

  it('has an id of its own', () => {
    expect(new Set(prerequisites.map((entry) => entry.id)).size).toBe(prerequisites.length);
  });
});

describe('set-up', () => {
  it('without the rights to install prints the exact command and exits 1', () => {
    const setup = new URL('../../cli/setup.mjs', import.meta.url).href;
    const script = `import { setUp } from '${setup}'; process.exitCode = setUp(['build'], false) ? 0 : 1;`;
    // On an empty PATH everything is missing.
    const run = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      env: { PATH: '' },
      encoding: 'utf8',
    });
    expect(run.status).toBe(1);
    expect(run.stdout).toBe('');
    expect(run.stderr).toMatch(/apt-get install -y --no-install-recommends g\+\+ make python3/);
  });
});

describe('versions', () => {
  it('compare by number, not by letter', () => {
    expect([
      compareVersions('6.10', '6.9'),
      compareVersions('7.2', '7.2.0'),
      compareVersions('6.6-1', '6.7'),
    ]).toEqual([1, 0, -1]);
  });
});

describe('doctor', () => {
  it('finds the Node it runs on good', () => {
    expect(checkNode()).toMatchObject({ verdict: 'ok', found: process.versions.node });
  });

  it('names a command for all that is not well, and none for what is', async () => {
    for (const { verdict, fix } of await examine(undefined, join(folder, 'none.sock'))) {
      if (verdict === 'ok' || verdict === 'info') expect(fix).toBeUndefined();
      else expect(fix).toMatch(/\w/);
    }
  });

  it('goes on when the config is broken, and says where', async () => {
    const file = join(folder, 'agent.yaml');
    writeFileSync(file, 'listen: 12\n');
    const config = (await examine(file, join(folder, 'none.sock'))).find((entry) => entry.id === 'config');
    expect(config).toMatchObject({ verdict: 'missing', found: expect.stringContaining(`${file}:1`) });
  });

  it('wants room in memory for the images of all guests', () => {
    expect(checkImageDir('/dev/shm/romulus/deep', 1)).toMatchObject({ id: 'image-space' });
    const short = checkImageDir('/dev/shm/romulus', 2 ** 50);
    expect(short.verdict).toBe('missing');
    expect(short.fix).toContain('mount -o remount');
    expect(checkImageDir('/proc', 1).fix).toContain('mount -t tmpfs');
  });

  it('compares free memory with what the guests need, and says what is short', () => {
    expect(checkFreeMemory(1).verdict).toBe('ok');
    expect(checkFreeMemory(2 ** 50)).toMatchObject({
      verdict: 'absent',
      fix: expect.stringContaining('ps '),
    });
  });
});

describe('doctor, of the Redis servers', () => {
  const at = (place: { url?: string; socket?: string }) => ({
    witness: { ...place, timeoutMs: 250 },
    queue: { ...place, concurrency: 8 },
  });

  it('finds a witness good that keeps what it confirmed, and its clock near', async () => {
    const redis = await LabWitness.start();
    try {
      const found = await checkControl(at({ socket: redis.socketPath }));
      expect(found.map(({ id, verdict }) => [id, verdict])).toEqual([
        ['witness', 'ok'],
        ['witness-clock', 'ok'],
        ['queue', 'ok'],
        ['queue-clock', 'ok'],
      ]);
    } finally {
      await redis.stop();
    }
  });

  it('names the command that mends one that may forget, and the command does', async () => {
    const redis = await LabWitness.start({
      settings: ['--appendfsync', 'everysec', '--maxmemory-policy', 'allkeys-lru'],
    });
    try {
      const [witness, queue] = await checkControl(at({ socket: redis.socketPath }));
      expect(witness).toMatchObject({
        id: 'witness',
        verdict: 'missing',
        found: /appendfsync is "everysec"/,
      });
      expect(queue).toMatchObject({ id: 'queue', verdict: 'missing', found: /allkeys-lru/ });
      // The server of a test has no file to rewrite, so that part is left out.
      const command = witness?.fix?.split(' && ')[0] ?? '';
      expect(command).toContain(`redis-cli -s ${redis.socketPath} config set `);
      execFileSync('sh', ['-c', command], { stdio: 'ignore' });
      const mended = await checkControl(at({ socket: redis.socketPath }));
      expect(mended.every(({ verdict }) => verdict === 'ok')).toBe(true);
    } finally {
      await redis.stop();
    }
  });

  it('says of one that does not answer where it looked, and never shows a password', async () => {
    const found = await checkControl(at({ url: 'redis://ops:s3cret@127.0.0.1:1/0' }));
    expect(found.map(({ verdict }) => verdict)).toEqual(['missing', 'missing']);
    expect(found[0]).toMatchObject({ found: /127\.0\.0\.1:1 does not answer/, fix: /--askpass/ });
    expect(JSON.stringify(found)).not.toContain('s3cret');
  });

  it('misses neither where none is configured', async () => {
    const found = await checkControl(parseConfig('', 'defaults'));
    expect(found.map(({ verdict }) => verdict)).toEqual(['info', 'info']);
  });
});
