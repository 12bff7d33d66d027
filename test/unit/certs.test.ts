/** Certificates: what `romulus certs` makes is just enough for two agents, and for nobody else. */

import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type Server, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CA_DAYS, type Certificates, makeCertificates, NODE_DAYS } from '../../cli/certificates.ts';
import { expiryDays, identityCheck, loadTls, peerNames, requirePeer } from '../../shared/tls.ts';

let folder: string;
let a: Certificates;
let b: Certificates;
let stranger: Certificates;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'romulus-certs-'));
  a = await makeCertificates(join(folder, 'pki'), 'a', ['192.0.2.1', 'a.example.org']);
  b = await makeCertificates(join(folder, 'pki'), 'b', ['127.0.0.1']);
  stranger = await makeCertificates(join(folder, 'other'), 'a', []);
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Both ends of one connection, or the error of the side that refused. */
async function meet(client: Certificates, server: Certificates, expected: string) {
  const listener: Server = createServer(loadTls(server.tls));
  const accepted = new Promise<TLSSocket>((resolve, reject) => {
    listener.once('secureConnection', resolve);
    listener.once('tlsClientError', reject);
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as { port: number };
  const dialled = connect({
    ...loadTls(client.tls),
    port,
    host: '127.0.0.1',
    checkServerIdentity: identityCheck(expected),
  });
  dialled.on('error', () => undefined);
  try {
    const [far] = await Promise.all([accepted, once(dialled, 'secureConnect')]);
    return { far, protocol: dialled.getProtocol(), names: peerNames(far) };
  } finally {
    dialled.destroy();
    listener.close();
  }
}

describe('two nodes of one CA', () => {
  it('meet over TLS 1.3, each knowing the other by name', async () => {
    const { far, protocol, names } = await meet(a, b, 'b');
    expect(protocol).toBe('TLSv1.3');
    expect(names).toEqual(['a', 'a.example.org']);
    expect(() => requirePeer(far, 'a')).not.toThrow();
    expect(() => requirePeer(far, 'c')).toThrow(/not for node "c"/);
  });

  it('part when the certificate carries another name than expected', async () => {
    await expect(meet(a, b, 'c')).rejects.toMatchObject({ code: 'TLS_INVALID' });
  });
});

describe('a node of another CA', () => {
  it('is let in neither as client nor as server', async () => {
    await expect(meet(stranger, b, 'b')).rejects.toThrow();
    await expect(meet(b, stranger, 'a')).rejects.toThrow();
  });
});

describe('the files', () => {
  it('of keys are readable by their owner only, and the CA key lies apart', () => {
    for (const path of [a.tls.key, a.caKey]) expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(a.caKey).toBe(join(folder, 'pki', 'ca-private', 'ca.key'));
    expect([a.caCreated, b.caCreated]).toEqual([true, false]);
  });

  it('expire when they say', () => {
    expect(a.expiresDays).toBeGreaterThanOrEqual(NODE_DAYS - 1);
    expect(expiryDays(a.tls.ca)).toBeGreaterThanOrEqual(CA_DAYS - 1);
    const later = Date.now() + (NODE_DAYS + 1) * 24 * 3600 * 1000;
    expect(() => loadTls(a.tls, later)).toThrow(/expired/);
  });

  it('that are missing, no certificate, or a key open to others are refused by name', async () => {
    expect(() => loadTls({ ...a.tls, cert: '/none.crt' })).toThrow(/\/none.crt cannot be read \(ENOENT\)/);
    expect(() => loadTls({ ...a.tls, cert: a.tls.key })).toThrow(/holds no certificate/);
    chmodSync(stranger.tls.key, 0o644);
    expect(() => loadTls(stranger.tls)).toThrow(/can be read by others/);
    chmodSync(stranger.tls.key, 0o600);
  });

  it('of a node are renewed by asking again', async () => {
    const renewed = await makeCertificates(join(folder, 'other'), 'a', ['::1']);
    expect(renewed.caCreated).toBe(false);
    expect(existsSync(renewed.tls.cert)).toBe(true);
  });

  it('are not made for names that could not be file names or for nonsense addresses', async () => {
    await expect(makeCertificates(folder, '../x', [])).rejects.toMatchObject({ code: 'USAGE' });
    await expect(makeCertificates(folder, 'x', ['1.2.3.4,DNS:y'])).rejects.toMatchObject({ code: 'USAGE' });
  });

  it('are not made by a CA whose key is elsewhere', async () => {
    const elsewhere = join(folder, 'elsewhere');
    const made = await makeCertificates(elsewhere, 'x', []);
    rmSync(made.caKey);
    await expect(makeCertificates(elsewhere, 'y', [])).rejects.toMatchObject({ code: 'TLS_INVALID' });
  });
});
