/** The config file: every wrong thing is named with file, line and key, and nothing is guessed. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { editDistance } from '../../shared/config/nearest.ts';
import {
  configAsFile,
  formatBytes,
  formatMs,
  loadConfig,
  parseConfig,
  parseDurationMs,
  parseEndpoint,
  parseSizeBytes,
} from '../../shared/config.ts';
import { asRomulusError, type RomulusError } from '../../shared/errors.ts';

const ORIGIN = '/etc/romulus/agent.yaml';

const whole = `
node: a
listen: 127.0.0.1:7400
peers:
  b: { address: "127.0.0.1:7401" }
vms:
  web:
    memory: 256MiB
    kernel: vmlinuz
    epoch: 10ms
`;

function refusal(act: () => unknown): RomulusError {
  try {
    act();
  } catch (thrown) {
    return asRomulusError(thrown);
  }
  throw new Error('nothing was refused');
}

const witnessed = `${whole}witness: { socket: /run/witness.sock }\n`;

describe('protection in a config file', () => {
  it('is automatic where there is a witness, and by hand with held output where there is none', () => {
    expect(parseConfig(whole, ORIGIN).vms.web).toMatchObject({ failover: 'manual', onBackupLoss: 'hold' });
    expect(parseConfig(witnessed, ORIGIN).vms.web).toMatchObject({
      failover: 'auto',
      onBackupLoss: 'solo',
      onGuestEnd: { panicked: 'end', gone: 'failover' },
    });
  });

  it('is not automatic without a witness', () => {
    const asked = `${whole}    failover: auto\n`;
    expect(refusal(() => parseConfig(asked, ORIGIN)).message).toMatch(/vms.web.failover.*needs a "witness"/);
  });

  it('has a witness in one place only', () => {
    const two = `${whole}witness: { socket: s, url: "redis://w" }\n`;
    expect(refusal(() => parseConfig(two, ORIGIN)).message).toMatch(/either "url" or "socket"/);
  });

  it('is printed so that it can be read back, without the password', () => {
    const config = parseConfig(`${whole}witness: { url: "redis://:secret@w:6379/0" }\n`, ORIGIN);
    const printed = stringify(configAsFile(config));
    expect(printed).not.toContain('secret');
    expect(parseConfig(printed, ORIGIN).vms).toEqual(config.vms);
  });

  it('names the command that proves a peer dead', () => {
    const fenced = whole.replace('7401" }', '7401", fence: [/sbin/fence_ipmilan, -a, b], fenceTimeout: 9s }');
    expect(parseConfig(fenced, ORIGIN).peers.b?.fence).toEqual({
      command: ['/sbin/fence_ipmilan', '-a', 'b'],
      timeoutMs: 9000,
    });
  });
});

describe('a config file', () => {
  it('becomes checked values with defaults filled in', () => {
    const config = parseConfig(whole, ORIGIN);
    expect(config).toMatchObject({
      node: 'a',
      listen: { host: '127.0.0.1', port: 7400 },
      api: '/run/romulus/agent.sock',
      peers: { b: { address: { host: '127.0.0.1', port: 7401 } } },
    });
    expect(config.vms.web).toEqual({
      spec: {
        name: 'web',
        hypervisor: 'qemu',
        memoryBytes: 256 * 1024 * 1024,
        cpus: 1,
        kernel: '/etc/romulus/vmlinuz',
      },
      epochMs: 10,
      epochMaxMs: 10,
      diskCopyBytesPerS: 128 * 1024 * 1024,
      pauseShare: 0.1,
      shadowShare: 1,
      windowEpochs: 8,
      failover: 'manual',
      onBackupLoss: 'hold',
      onGuestEnd: { panicked: 'end', gone: 'end' },
    });
  });

  it('that is empty is all defaults', () => {
    expect(parseConfig('', 'defaults')).toMatchObject({ dataDir: '/var/lib/romulus', vms: {} });
  });

  it('printed and read again is the same config', () => {
    const config = parseConfig(whole, ORIGIN);
    expect(parseConfig(stringify(configAsFile(config)), ORIGIN)).toEqual(config);
    expect(parse(stringify(configAsFile(config))).vms.web.memory).toBe('268435456B');
  });

  it('shows a queue without its password', () => {
    const config = parseConfig('queue: { url: "redis://ops:s3cret@192.0.2.9:6379/1" }', ORIGIN);
    expect(config.queue).toEqual({ url: 'redis://ops:s3cret@192.0.2.9:6379/1', concurrency: 8 });
    expect(stringify(configAsFile(config))).not.toContain('s3cret');
    expect(parseConfig('queue: { socket: redis.sock }', ORIGIN).queue?.socket).toBe(
      '/etc/romulus/redis.sock',
    );
  });

  it.each([
    ['queue: { url: "http://x" }', 'must be a redis:// or rediss:// URL', 1],
    ['queue: { url: "redis://x", socket: y }', 'must have either "url" or "socket"', 1],
    ['queue: { scoket: y }', '"queue.scoket"; did you mean "socket"?', 1],
    ['nod: a', 'unknown key "nod"; did you mean "node"?', 1],
    ['vms:\n  web:\n    memory: 1GiB\n    memmory: 2GiB', '"vms.web.memmory"; did you mean "memory"?', 4],
    ['peers:\n  b:\n    adress: "127.0.0.1:1"', '"peers.b.adress"; did you mean "address"?', 3],
    ['tls: { ca: a, cert: b, kee: c }', 'unknown key "tls.kee"; did you mean "key"?', 1],
    ['zzzzzzzz: 1', 'unknown key "zzzzzzzz"', 1],
    ['vms:\n  web: {}', '"vms.web.memory" is missing', 2],
    ['vms:\n  web: { memory: 256 }', '"vms.web.memory" must be a size', 2],
    ['vms:\n  web: { memory: 256MB }', '"vms.web.memory" "256MB" is not a size', 2],
    ['vms:\n  web: { memory: 5000B }', 'multiple of 4KiB', 2],
    ['vms:\n  web: { memory: 1GiB, epoch: 1ms }', 'at least 5ms', 2],
    ['vms:\n  web: { memory: 1GiB, window: 65 }', 'at most 64', 2],
    ['vms:\n  web: { memory: 1GiB, hypervisor: vmware }', '"vms.web.hypervisor" must be', 2],
    ['vms:\n  "../x": { memory: 1GiB }', 'must consist of letters', 2],
    ['listen: 7400', '"listen" must be string, not 7400', 1],
    ['listen: nowhere', 'must be host:port', 1],
    ['node: a\nnode: b', 'unique', 2],
    ['node: [', '', 1],
    ['node: *nobody', 'nobody', undefined],
    ['- a', 'unknown key "0"', 1],
    ['vms: [{ memory: 1GiB }]', 'must be a map from names', 1],
    ['just words', 'must be Object', undefined],
    [`node: ${'x'.repeat(65)}`, 'at most 64 characters', 1],
    ['node: a\npeers: { a: { address: "127.0.0.1:1" } }', 'names this node itself', undefined],
    [`api: /${'x'.repeat(120)}`, 'longer than the 107 bytes', undefined],
  ])('that says %j is refused: %s', (text, said, line) => {
    const error = refusal(() => parseConfig(text, ORIGIN));
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.exitCode).toBe(2);
    expect(error.message).toContain(said);
    expect(error.message).toContain(line === undefined ? ORIGIN : `${ORIGIN}:${line}`);
    expect(error.hint).toBe(`romulus config check --config ${ORIGIN}`);
  });

  it('with an address off loopback needs TLS', () => {
    for (const text of [
      'listen: 0.0.0.0:7400',
      'listen: "[::]:1"',
      'peers: { b: { address: "10.0.0.2:7400" } }',
    ]) {
      const error = refusal(() => parseConfig(`node: a\n${text}`, ORIGIN));
      expect(error.code).toBe('TLS_REQUIRED');
      expect(error.exitCode).toBe(4);
      expect(error.hint).toContain('romulus certs');
    }
    const config = parseConfig('listen: 0.0.0.0:7400\ntls: { ca: pki/ca.crt, cert: c, key: k }', ORIGIN);
    expect(config.tls?.ca).toBe('/etc/romulus/pki/ca.crt');
  });

  it('never throws anything but a RomulusError with a known exit code', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        try {
          parseConfig(text, ORIGIN);
        } catch (thrown) {
          expect(asRomulusError(thrown).code).not.toBe('INTERNAL');
        }
      }),
    );
  });
});

describe('finding the file', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'romulus-config-'));
  });
  afterEach(() => {
    delete process.env.ROMULUS_CONFIG;
    rmSync(folder, { recursive: true });
  });

  it('the flag goes before the environment, and both before the defaults', () => {
    writeFileSync(join(folder, 'flag.yaml'), 'node: from-flag');
    writeFileSync(join(folder, 'env.yaml'), 'node: from-env');
    process.env.ROMULUS_CONFIG = join(folder, 'env.yaml');
    expect(loadConfig(join(folder, 'flag.yaml')).node).toBe('from-flag');
    expect(loadConfig().node).toBe('from-env');
  });

  it('a file asked for by name must exist', () => {
    expect(refusal(() => loadConfig(join(folder, 'none.yaml'))).message).toContain('ENOENT');
  });
});

describe('units', () => {
  it('durations come back as milliseconds and sizes as bytes', () => {
    expect([parseDurationMs('500us'), parseDurationMs('25ms'), parseDurationMs('1.5s')]).toEqual([
      0.5, 25, 1500,
    ]);
    expect([parseSizeBytes('1B'), parseSizeBytes('4KiB'), parseSizeBytes('1.5GiB')]).toEqual([
      1, 4096, 1610612736,
    ]);
  });

  it.each(['', '25', 'ms', '-1ms', '0ms', '1e3ms', '25 parsecs', 'NaNms', '1mss', '1constructor'])(
    '%j is not a duration',
    (text) => expect(refusal(() => parseDurationMs(text)).code).toBe('USAGE'),
  );

  it.each(['', '256', '256MB', '0.2B', '0B', '99999999999TiB'])('%j is not a size', (text) =>
    expect(refusal(() => parseSizeBytes(text)).code).toBe('USAGE'),
  );

  it('what is formatted for people parses to nearly the same value', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 43 }), (bytes) => {
        const text = formatBytes(bytes);
        expect(Math.abs(parseSizeBytes(text) - bytes) / bytes).toBeLessThan(0.006);
      }),
      { examples: [[1024], [1023], [2 ** 40]] },
    );
    expect([formatMs(25), formatMs(0.35), formatMs(61_000), formatMs(0)]).toEqual([
      '25ms',
      '350us',
      '1.02m',
      '0ms',
    ]);
  });

  it('an endpoint is host:port, with brackets around IPv6', () => {
    expect(parseEndpoint('[::1]:7400')).toEqual({ host: '::1', port: 7400 });
    for (const text of ['::1:7400', 'host', 'host:65536', '[zz]:1', 'a b:1', 'host:-1']) {
      expect(parseEndpoint(text)).toBeUndefined();
    }
  });

  it('the edit distance is symmetric and zero only for equal words', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (a, b) => {
        expect(editDistance(a, b)).toBe(editDistance(b, a));
        expect(editDistance(a, b) === 0).toBe(a === b);
      }),
    );
  });
});
