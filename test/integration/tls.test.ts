/** Two sides over TLS: both show a certificate of the one CA, and a name in a hello is only worth what the certificate says. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { makeCertificates } from '../../cli/certificates.ts';
import { type AgentTlsOptions, identityCheck, loadTls } from '../../shared/tls.ts';
import { dial, requireTlsOffLoopback } from '../../shared/wire/socket.ts';
import { Backup, Primary } from '../support/pair.ts';

let dir: string;
const tls: Record<string, AgentTlsOptions> = {};
let backup: Backup;
let primary: Primary | undefined;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'romulus-tls-'));
  for (const node of ['alpha', 'beta', 'gamma'])
    tls[node] = loadTls((await makeCertificates(join(dir, 'pki'), node, ['127.0.0.1'])).tls);
  tls.stranger = loadTls((await makeCertificates(join(dir, 'other-pki'), 'alpha', ['127.0.0.1'])).tls);
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

beforeEach(async () => {
  backup = new Backup();
  await backup.start(tls.beta);
});

afterEach(async () => {
  await primary?.replica.stop({ forget: false });
  primary = undefined;
  await backup.stop();
  backup.remove();
});

function primaryWith(certificate: string, expects = 'beta'): Promise<Primary> {
  return Primary.create(
    backup.endpoint,
    {},
    { tls: { ...tls[certificate], checkServerIdentity: identityCheck(expects) } },
  );
}

describe('over TLS', () => {
  it('two nodes of one CA replicate', async () => {
    primary = await primaryWith('alpha');
    const protectedState = primary.trail.state('PROTECTED');
    await primary.replica.start();
    await protectedState;
  });

  it.each([
    ['a primary of another CA', 'stranger', 'beta'],
    ['a primary whose certificate is for another node than its hello says', 'gamma', 'beta'],
    ['a backup that is not the node it was dialled as', 'alpha', 'delta'],
  ])('%s is refused, and the guest shown as unprotected', async (_, certificate, expects) => {
    primary = await primaryWith(certificate, expects);
    const degraded = primary.trail.state('DEGRADED');
    await primary.replica.start();
    expect((await degraded).code).toMatch(/TLS_INVALID|PEER_UNREACHABLE/);
    expect(backup.standby?.image.promotable).toBe(false);
  });

  it('a client without a certificate never reaches the protocol', async () => {
    await expect(
      dial(backup.endpoint, { rejectUnauthorized: false }, (socket) => {
        return new Promise((_, reject) => socket.once('close', () => reject(new Error('closed'))));
      }),
    ).rejects.toThrow();
  });

  it('an address off loopback is refused without it', () => {
    expect(() => requireTlsOffLoopback('192.0.2.7', undefined)).toThrow('no tls');
    expect(() => requireTlsOffLoopback('127.0.0.9', undefined)).not.toThrow();
  });
});
