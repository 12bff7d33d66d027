/** What a broken, old or hostile primary says to a backup: each is refused with a reason, and nothing committed is lost. */

import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { engine } from '../../native/index.ts';
import { encodeFrame } from '../../shared/wire/frame.ts';
import { Kind } from '../../shared/wire/messages.ts';
import { Backup, Primary } from '../support/pair.ts';
import { hello, RawPeer } from '../support/raw-peer.ts';

let backup: Backup;
let peer: RawPeer;

beforeEach(async () => {
  backup = new Backup();
  await backup.start();
  peer = await RawPeer.connect(backup.endpoint);
});

afterEach(async () => {
  peer.close();
  await backup.stop();
  backup.remove();
});

const commit = {
  term: 1,
  epoch: 1,
  previous: 0,
  sentMs: 0,
  chunks: 0,
  stateBytes: 0,
  digest: '0'.repeat(16),
  stateDigest: '0'.repeat(16),
};

function payloadOf(bytes: Buffer) {
  return { buffer: bytes, offset: 0, bytes: bytes.length, crc32c: engine().crc32c(bytes) };
}

describe('the backup refuses', () => {
  it('a text message', async () => {
    peer.sendRaw('hello');
    expect(await peer.refusal()).toBe('WIRE_FRAME');
  });

  it('anything before hello', async () => {
    peer.send(Kind.commit, commit);
    expect(await peer.refusal()).toBe('WIRE_ORDER');
  });

  it('a hello of another version', async () => {
    peer.send(Kind.hello, { ...hello, protocol: [7, 9] });
    expect(await peer.refusal()).toBe('WIRE_VERSION');
  });

  it.each([
    ['a VM whose name leaves its folder', { vm: '../../etc' }],
    ['a negative term', { term: -1 }],
    ['memory of a broken size', { geometry: { ...hello.geometry, ramBytes: 4097 } }],
    ['more memory than there can be', { geometry: { ...hello.geometry, ramBytes: 2 ** 52 } }],
    ['no geometry', { geometry: null }],
    ['an unknown hypervisor', { spec: { ...hello.spec, hypervisor: 'vmware' } }],
  ])('a hello with %s', async (_, change) => {
    peer.send(Kind.hello, { ...hello, ...change });
    expect(await peer.refusal()).toBe('WIRE_FRAME');
  });

  it('a frame that comes twice', async () => {
    const frame = Buffer.from(encodeFrame(Kind.hello, 0, hello));
    peer.sendRaw(frame);
    expect((await peer.next())?.kind).toBe(Kind.welcome);
    peer.sendRaw(frame);
    expect(await peer.refusal()).toBe('WIRE_ORDER');
  });

  it('a frame with a flipped bit', async () => {
    const frame = Buffer.from(encodeFrame(Kind.hello, 0, hello));
    frame[40] = (frame[40] ?? 0) ^ 4;
    peer.sendRaw(frame);
    expect(await peer.refusal()).toBe('WIRE_CHECKSUM');
  });

  it('a truncated and an oversized frame', async () => {
    peer.sendRaw(Buffer.from(encodeFrame(Kind.hello, 0, hello)).subarray(0, 60));
    expect(await peer.refusal()).toBe('WIRE_FRAME');
    const other = await RawPeer.connect(backup.endpoint);
    other.sendRaw(Buffer.alloc(16 * 1024 * 1024));
    expect(await other.next()).toBeUndefined();
    other.close();
  });

  it('a commit that skips an epoch', async () => {
    await peer.synced();
    peer.send(Kind.commit, { ...commit, epoch: 2, previous: 1 });
    expect(await peer.refusal()).toBe('WIRE_ORDER');
  });

  it('a commit that names more chunks than came', async () => {
    await peer.synced();
    peer.send(Kind.commit, { ...commit, chunks: 3 });
    expect(await peer.refusal()).toBe('WIRE_ORDER');
    expect(backup.standby?.image.committed).toBe(0);
  });

  it('a chunk of an epoch that is not the next', async () => {
    await peer.synced();
    peer.send(Kind.chunk, { epoch: 5, region: 0, codec: 0, rawBytes: 3 }, payloadOf(Buffer.from('xyz')));
    expect(await peer.refusal()).toBe('WIRE_ORDER');
  });

  it('a chunk that does not decode, before its epoch can commit', async () => {
    await peer.synced();
    peer.send(Kind.chunk, { epoch: 1, region: 0, codec: 0, rawBytes: 3 }, payloadOf(Buffer.from('xyz')));
    expect(await peer.refusal()).toBe('WIRE_FRAME');
  });

  it('an unknown kind and an unknown codec', async () => {
    await peer.synced();
    peer.send(77, {});
    expect(await peer.refusal()).toBe('WIRE_FRAME');
    const other = await RawPeer.connect(backup.endpoint);
    await other.synced();
    other.send(Kind.chunk, { epoch: 1, region: 0, codec: 9, rawBytes: 3 }, payloadOf(Buffer.from('xyz')));
    expect(await other.refusal()).toBe('WIRE_FRAME');
    other.close();
  });

  it('an image that is not what the commit says, and never promotes it', async () => {
    await peer.synced();
    const degraded = backup.trail.state('DEGRADED');
    peer.send(Kind.commit, { ...commit, digest: 'f'.repeat(16) });
    await degraded;
    expect(backup.standby?.status().reason).toMatch(/not what the primary had/);
    peer.close();
    await expect(
      backup.standby?.failover({ vm: 'vm', force: true, fencedBy: 'the test' }),
    ).rejects.toMatchObject({
      code: 'IMAGE_NOT_PROMOTABLE',
    });
  });

  it('a term that is over', async () => {
    peer.send(Kind.hello, { ...hello, term: 5 });
    await peer.next();
    const old = await RawPeer.connect(backup.endpoint);
    old.send(Kind.hello, { ...hello, term: 4 });
    const answer = await old.next();
    expect(answer?.head).toMatchObject({ code: 'TERM_STALE', term: 5 });
    old.close();
  });

  it('plain HTTP, and other paths', async () => {
    const answer = await fetch(`http://127.0.0.1:${backup.endpoint.port}/`);
    expect(answer.status).toBe(426);
    const reply = await new Promise<string>((resolve) => {
      const socket = connect(backup.endpoint.port, '127.0.0.1', () =>
        socket.write('GET /other HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'),
      );
      socket.once('data', (data) => resolve(data.toString()));
    });
    expect(reply).toMatch(/404/);
  });
});

describe('a standby under a broken peer', () => {
  it('keeps the epoch it had, and takes the real primary up again', async () => {
    const primary = await Primary.create(backup.endpoint);
    const enough = backup.trail.commits(5);
    await primary.replica.start();
    await enough;
    // The intruder replaces the session, says something wrong, and is thrown out.
    const intruder = await RawPeer.connect(backup.endpoint);
    intruder.send(Kind.hello, hello);
    await intruder.next();
    const before = backup.standby?.image.committed ?? 0;
    intruder.send(Kind.commit, { ...commit, epoch: before + 9, previous: before + 8 });
    expect(await intruder.refusal()).toBe('WIRE_ORDER');
    await backup.trail.commits(5);
    expect(primary.trail.seen.filter((event) => event.kind === 'synced')).toHaveLength(1);
    expect(backup.standby?.image.committed).toBeGreaterThan(before);
    await primary.replica.stop({ forget: false });
    intruder.close();
  });
});
