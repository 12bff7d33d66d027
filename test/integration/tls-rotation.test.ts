/** New certificates on disk serve the next connection, on both sides, without a restart; the session that runs stays. */

import { once } from 'node:events';
import { copyFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Certificates, makeCertificates } from '../../cli/certificates.ts';
import type { TlsFiles } from '../../shared/config.ts';
import type { RomulusError } from '../../shared/errors.ts';
import { loadTls } from '../../shared/tls.ts';
import { certificatesOf, dialWith, TlsIdentity } from '../../shared/tls-identity.ts';
import { Backup, Primary } from '../support/pair.ts';

let dir: string;
let alpha: Certificates;
let beta: Certificates;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'romulus-rotation-'));
  alpha = await makeCertificates(join(dir, 'pki'), 'alpha', ['127.0.0.1']);
  beta = await makeCertificates(join(dir, 'pki'), 'beta', ['127.0.0.1']);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** Puts files in the place of others, each at once, as configuration tools do. */
function replace(target: TlsFiles, source: TlsFiles): void {
  for (const kind of ['ca', 'key', 'cert'] as const) {
    copyFileSync(source[kind], `${target[kind]}.new`);
    renameSync(`${target[kind]}.new`, target[kind]);
  }
}

describe('an agent whose certificates are replaced', () => {
  let backup: Backup;
  const primaries: Primary[] = [];

  beforeEach(() => {
    backup = new Backup();
  });
  afterEach(async () => {
    for (const primary of primaries.splice(0)) await primary.replica.stop({ forget: false });
    await backup.stop();
    backup.remove();
  });

  it('goes on with the session it has, and meets the next with the new ones, even of a new CA', async () => {
    const served = new TlsIdentity(beta.tls);
    const dialled = new TlsIdentity(alpha.tls);
    await backup.start(() => served.current());
    const tls = dialWith(() => dialled.current(), 'beta');
    const first = await Primary.create(backup.endpoint, {}, { tls });
    primaries.push(first);
    const isProtected = first.trail.state('PROTECTED');
    await first.replica.start();
    await isProtected;

    const before = loadTls(alpha.tls);
    replace(alpha.tls, (await makeCertificates(join(dir, 'new'), 'alpha', ['127.0.0.1'])).tls);
    replace(beta.tls, (await makeCertificates(join(dir, 'new'), 'beta', ['127.0.0.1'])).tls);
    await backup.trail.commits(5);
    expect(first.trail.seen.filter(({ state }) => state === 'DEGRADED')).toEqual([]);

    // What the old CA signed is no longer let in, what the new one signed is.
    await expect(serialServed(before)).rejects.toThrow();
    await first.replica.stop({ forget: false });
    const second = await Primary.create(backup.endpoint, {}, { tls });
    primaries.push(second);
    const again = second.trail.state('PROTECTED');
    await second.replica.start();
    await again;
  });

  it('shows the new certificate to the next caller', async () => {
    const served = new TlsIdentity(beta.tls);
    await backup.start(() => served.current());
    const caller = loadTls(alpha.tls);
    const old = await serialServed(caller);
    await makeCertificates(join(dir, 'pki'), 'beta', ['127.0.0.1']);
    expect(await serialServed(caller)).not.toBe(old);
  });

  /** The serial number of the certificate that the backup shows. */
  async function serialServed(caller: object): Promise<string> {
    const socket = connect({ ...caller, ...backup.endpoint, checkServerIdentity: () => undefined });
    try {
      await once(socket, 'secureConnect');
      return socket.getPeerCertificate().serialNumber;
    } finally {
      socket.destroy();
    }
  }
});

describe('files that are no good', () => {
  it('leave the last good ones in use, and are told once', async () => {
    const told: (RomulusError | undefined)[] = [];
    const identity = new TlsIdentity(alpha.tls, (fault) => told.push(fault));
    const good = identity.current();
    // A certificate whose key has not come yet.
    const next = await makeCertificates(join(dir, 'new'), 'alpha', []);
    copyFileSync(next.tls.cert, alpha.tls.cert);
    for (let asked = 0; asked < 3; asked += 1) expect(identity.current()).toBe(good);
    expect(told).toHaveLength(1);
    expect(told[0]).toMatchObject({ code: 'TLS_INVALID', message: expect.stringContaining('do not fit') });
    copyFileSync(next.tls.key, alpha.tls.key);
    expect(identity.current()).not.toBe(good);
    expect(told).toEqual([told[0], undefined]);
    writeFileSync(alpha.tls.ca, 'nothing');
    rmSync(alpha.tls.cert);
    expect(identity.current()).not.toBe(good);
    expect(told).toHaveLength(3);
  });
});

describe('the end of a certificate', () => {
  it('is named 30 days before it comes, and the CA counts too', async () => {
    const short = await makeCertificates(join(dir, 'pki'), 'alpha', [], 29);
    const [node, ca] = certificatesOf(short.tls);
    expect(node).toMatchObject({ name: 'node', path: short.tls.cert, expiresDays: 28, renew: true });
    expect(ca).toMatchObject({ name: 'ca', path: short.tls.ca, renew: false });
    const later = Date.parse(ca?.expiresAt ?? '') - 10 * 24 * 3600 * 1000;
    expect(certificatesOf(short.tls, later)[1]).toMatchObject({ expiresDays: 10, renew: true });
  });

  it('is that of the newer CA while a file holds both', async () => {
    const old = await makeCertificates(join(dir, 'pki'), 'alpha', []);
    const [, before] = certificatesOf(old.tls);
    const next = await makeCertificates(join(dir, 'new'), 'alpha', []);
    const { readFileSync } = await import('node:fs');
    writeFileSync(old.tls.ca, Buffer.concat([readFileSync(old.tls.ca), readFileSync(next.tls.ca)]));
    const [, both] = certificatesOf(old.tls);
    expect(Date.parse(both?.expiresAt ?? '')).toBeGreaterThanOrEqual(Date.parse(before?.expiresAt ?? ''));
    expect(new TlsIdentity(old.tls).certificates()).toHaveLength(2);
  });
});
