/** Strangers at the replication port: slow, many, loud or false, each is put out by a limit, and peers still get in. */

import { type EventEmitter, once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { type Listener, listen } from '../../backup/listener.ts';
import { STRANGER_LIMITS, type StrangerLimits } from '../../backup/strangers.ts';
import { type Certificates, makeCertificates } from '../../cli/certificates.ts';
import { RomulusError } from '../../shared/errors.ts';
import { type AgentTlsOptions, identityCheck, loadTls } from '../../shared/tls.ts';
import { Kind } from '../../shared/wire/messages.ts';
import { dial, REPLICATE_PATH } from '../../shared/wire/socket.ts';
import { hello, RawPeer } from '../support/raw-peer.ts';

const MiB = 1024 * 1024;

let dir: string;
const made: Record<string, Certificates> = {};
let listener: Listener | undefined;
/** Nodes whose hello got past every check. */
let letIn: string[];
const open: { destroy(): void }[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'romulus-strangers-'));
  for (const node of ['alpha', 'beta', 'gamma'])
    made[node] = await makeCertificates(join(dir, 'pki'), node, ['127.0.0.1']);
  made.stranger = await makeCertificates(join(dir, 'other-pki'), 'alpha', ['127.0.0.1']);
  made.expired = await makeCertificates(join(dir, 'pki'), 'late', ['127.0.0.1'], -1);
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

afterEach(async () => {
  for (const socket of open.splice(0)) socket.destroy();
  await listener?.close();
  listener = undefined;
});

/** A backup that lets its peers alpha and late in, and then has no such VM. */
async function start(limits: Partial<StrangerLimits> = {}, secure = true): Promise<Listener> {
  letIn = [];
  const tls = loadTls(made.beta?.tls as Certificates['tls']);
  listener = await listen({
    listen: { host: '127.0.0.1', port: 0 },
    node: 'beta',
    silenceMs: 10_000,
    limits: { ...STRANGER_LIMITS, ...limits },
    isPeer: (node) => node === 'alpha' || node === 'late',
    standbyFor: async ({ node }) => {
      letIn.push(node);
      throw new RomulusError('VM_UNKNOWN', 'let in');
    },
    ...(secure && { tls: () => tls }),
  });
  return listener;
}

/** As loadTls, but of files that it would refuse. */
function credentials(name: string, expects = 'beta'): ConnectionOptions {
  const { ca, cert, key } = (made[name] as Certificates).tls;
  return {
    ca: readFileSync(ca),
    cert: readFileSync(cert),
    key: readFileSync(key),
    minVersion: 'TLSv1.3',
    checkServerIdentity: identityCheck(expects),
  };
}

function tcp(from = '127.0.0.1'): Socket {
  const port = listener?.endpoint.port ?? 0;
  const socket = connect({ port, host: '127.0.0.1', localAddress: from });
  socket.on('error', () => undefined); // 'close' is what is waited for
  socket.resume();
  open.push(socket);
  return socket;
}

async function peer(name: string, node: string): Promise<RawPeer> {
  const raw = await dial((listener as Listener).endpoint, credentials(name), (socket) => new RawPeer(socket));
  open.push({ destroy: () => raw.close() });
  raw.send(Kind.hello, { ...hello, node });
  return raw;
}

/** A peer with everything right is let in, whatever goes on beside it. */
async function expectPeerIsLetIn(): Promise<void> {
  const alpha = await peer('alpha', 'alpha');
  expect(await alpha.refusal()).toBe('VM_UNKNOWN');
  expect(letIn).toContain('alpha');
}

describe('a stranger is put out', () => {
  it('when it connects and says nothing', async () => {
    const { refused } = await start({ admissionMs: 2000 });
    await ended(tcp());
    expect(refused.late).toBe(1);
    await expectPeerIsLetIn();
  });

  it('when its TLS handshake comes byte by byte', async () => {
    const { refused } = await start({ admissionMs: 500 });
    const socket = tcp();
    // The head of a TLS record that announces a ClientHello of 512 bytes, which then never ends.
    const record = Buffer.concat([Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]), Buffer.alloc(503)]);
    let at = 0;
    const drip = setInterval(() => socket.write(record.subarray(at, ++at)), 20);
    await ended(socket);
    clearInterval(drip);
    expect(at).toBeLessThan(record.length);
    expect(refused.late).toBe(1);
  });

  it('when TLS is through and its HTTP request never ends', async () => {
    const { refused, endpoint } = await start({ admissionMs: 500 });
    const socket = tlsConnect({ ...credentials('alpha'), port: endpoint.port, host: '127.0.0.1' });
    open.push(socket);
    socket.on('error', () => undefined);
    socket.once('secureConnect', () => socket.write('GET / HTTP/1.1\r\nX-Slow: '));
    socket.resume();
    await ended(socket);
    expect(refused.late).toBe(1);
  });

  it('when its WebSocket is open and no hello comes', async () => {
    const { refused, endpoint } = await start({ admissionMs: 2000 });
    const socket = await dial(endpoint, credentials('alpha'), (opened) => opened);
    await ended(socket);
    expect(refused.late).toBe(1);
    expect(letIn).toEqual([]);
  });

  it('when it speaks neither TLS nor HTTP', async () => {
    const { refused } = await start();
    const garbage = tcp();
    garbage.write(Buffer.alloc(4096, 0xa5));
    await ended(garbage);
    const plain = tcp();
    plain.write(`GET ${REPLICATE_PATH} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await ended(plain);
    expect(refused.protocol).toBe(2);
    await expectPeerIsLetIn();
  });

  it('when its first frame says it is huge, before the frame is there', async () => {
    const { endpoint } = await start();
    const socket = tlsConnect({ ...credentials('alpha'), port: endpoint.port, host: '127.0.0.1' });
    open.push(socket);
    socket.on('error', () => undefined);
    await once(socket, 'secureConnect');
    socket.write(
      `GET ${REPLICATE_PATH} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n',
    );
    await once(socket, 'data');
    // FIN, binary, masked, 64-bit length: 1 TiB, of which not a byte follows.
    const head = Buffer.from([0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    socket.write(head);
    socket.resume();
    await ended(socket);
    await expectPeerIsLetIn();
  });

  it('when it sends more before its hello than a hello takes', async () => {
    const { refused, endpoint } = await start({ bytes: 64 * 1024 });
    const socket = new WebSocket(
      `wss://127.0.0.1:${endpoint.port}${REPLICATE_PATH}`,
      credentials('alpha') as object,
    );
    socket.on('error', () => undefined);
    await once(socket, 'open');
    socket.send(Buffer.alloc(MiB));
    await ended(socket);
    expect(refused.bytes).toBe(1);
    // Frames too small to count each would add up as well.
    const drip = await dial(endpoint, credentials('alpha'), (opened) => opened);
    drip.on('error', () => undefined);
    for (let sent = 0; sent < 128; sent += 1) drip.send(Buffer.alloc(1024), { fin: false }, () => undefined);
    await ended(drip);
    expect(refused.bytes).toBe(2);
    expect(letIn).toEqual([]);
  });
});

describe('a flood of strangers', () => {
  it('from one address fills only its own share, and leaves room for peers elsewhere', async () => {
    const { refused } = await start({ perAddress: 20 });
    for (let count = 0; count < 100; count += 1) tcp('127.0.0.9');
    // Eighty go at once; twenty stay, silent, until their time is over.
    await until(() => refused.crowded === 80);
    await expectPeerIsLetIn();
  });

  it('from many addresses is bounded in all, and gives way when it ends', async () => {
    const { refused } = await start({ total: 10, perAddress: 4 });
    const flood = Array.from({ length: 40 }, (_, index) => tcp(`127.0.1.${1 + (index % 20)}`));
    await until(() => refused.crowded === 30);
    await expect(
      dial((listener as Listener).endpoint, credentials('alpha'), () => undefined),
    ).rejects.toMatchObject({
      code: 'PEER_UNREACHABLE',
    });
    for (const socket of flood) socket.destroy();
    await until(async () => (await tryPeer()) === 'VM_UNKNOWN');
  });

  it('does not count peers that were let in', async () => {
    await start({ perAddress: 2 });
    for (let round = 0; round < 6; round += 1) await expectPeerIsLetIn();
    expect(letIn).toHaveLength(6);
  });
});

describe('a certificate', () => {
  it('of another CA is not let in', async () => {
    const { refused } = await start();
    await refusedAtTls({ ...credentials('stranger'), ca: credentials('alpha').ca });
    expect(refused.protocol).toBe(1);
    expect(letIn).toEqual([]);
  });

  it('that has expired is not let in', async () => {
    const { refused } = await start();
    await refusedAtTls(credentials('expired'));
    expect(refused.protocol).toBe(1);
    expect(letIn).toEqual([]);
  });

  it('is needed at all', async () => {
    const { refused } = await start();
    await refusedAtTls({ ca: credentials('alpha').ca as Buffer, checkServerIdentity: identityCheck('beta') });
    expect(refused.protocol).toBe(1);
  });

  it('of the right CA for another node than the hello says is not let in', async () => {
    await start();
    expect(await (await peer('gamma', 'alpha')).refusal()).toBe('TLS_INVALID');
    expect(letIn).toEqual([]);
  });

  it('of the right CA for a node that is no peer is not let in', async () => {
    await start();
    expect(await (await peer('gamma', 'gamma')).refusal()).toBe('PEER_UNKNOWN');
    expect(letIn).toEqual([]);
  });

  it.each([
    ['of another CA', 'stranger', /certificate/],
    ['for another node', 'gamma', /not for node "beta"/],
    ['that has expired', 'expired', /expired/],
  ])('of a backup %s is not spoken to', async (_, name, said) => {
    const tls = { ...credentials(name), requestCert: true, rejectUnauthorized: true } as AgentTlsOptions;
    listener = await listen({
      listen: { host: '127.0.0.1', port: 0 },
      node: 'beta',
      silenceMs: 10_000,
      tls: () => tls,
      standbyFor: () => Promise.reject(new Error('never asked')),
    });
    const dialled = dial(
      listener.endpoint,
      credentials('alpha', name === 'expired' ? 'late' : 'beta'),
      () => undefined,
    );
    await expect(dialled).rejects.toMatchObject({
      code: 'TLS_INVALID',
      message: expect.stringMatching(said),
    });
  });
});

/** Resolves when a connection is over, by error or not. */
function ended(socket: EventEmitter): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

/** TLS 1.3 lets the client think that it is connected before the server has looked at its certificate. */
async function refusedAtTls(options: ConnectionOptions): Promise<void> {
  const port = (listener as Listener).endpoint.port;
  const socket = tlsConnect({ ...options, port, host: '127.0.0.1' });
  socket.on('error', () => undefined);
  socket.resume();
  await ended(socket);
}

async function tryPeer(): Promise<unknown> {
  try {
    return await (await peer('alpha', 'alpha')).refusal();
  } catch {
    return undefined;
  }
}

/** Counts change within this process, on other sockets' events; the test's own time-out ends a wait in vain. */
async function until(fits: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await fits())) await new Promise((resolve) => setTimeout(resolve, 10));
}
