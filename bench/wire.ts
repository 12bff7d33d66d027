/** Epochs of 1 MiB acknowledged from agent to agent, and their rate, beside raw TCP and `ws` alone between the same processes. */

import { fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { fileURLToPath } from 'node:url';
import type { WebSocket } from 'ws';
import { makeCertificates } from '../cli/certificates.ts';
import { Capture } from '../primary/epoch/capture.ts';
import { Departure, releaseEpoch, sendEpoch } from '../primary/epoch/outbox.ts';
import { Session } from '../primary/session.ts';
import { RomulusError } from '../shared/errors.ts';
import { Samples } from '../shared/samples.ts';
import { identityCheck, loadTls } from '../shared/tls.ts';
import { PAGE_BYTES } from '../shared/vm.ts';
import { CodecChoice } from '../shared/wire/codec-choice.ts';
import { LinkRate } from '../shared/wire/link-rate.ts';
import { dial } from '../shared/wire/socket.ts';
import { WrittenMemory } from './written-memory.ts';

const MiB = 1024 * 1024;
const RAM_BYTES = 64 * MiB;
/** With their heads just under one slab. */
const PAGES_PER_EPOCH = 255;
/** Sent while nothing is measured yet. */
const WARM_UP = 50;

interface Ports {
  agentPort: number;
  agentTlsPort: number;
  rawPort: number;
  rawTlsPort: number;
  webSocketPort: number;
}

export interface WireRow {
  /**
   * websocket: the same bytes as messages of `ws` and nothing else, which is what the protocol allows. With TLS, as between
   * hosts: raw-tls and romulus-tls.
   */
  method: 'raw-tcp' | 'websocket' | 'romulus' | 'raw-tls' | 'romulus-tls';
  what: 'round-trip' | 'rate';
  bytes: number;
  count: number;
  /** round-trip: from handing the bytes over to their acknowledgement. */
  roundTripUs?: { p50: number; p99: number };
  gbPerS?: number;
}

export async function benchWire({ epochs = 500, rateMiB = 512 } = {}): Promise<WireRow[]> {
  const unit = PAGES_PER_EPOCH * PAGE_BYTES;
  const program = fileURLToPath(new URL(`./wire-peer${extname(import.meta.url)}`, import.meta.url));
  // From sources the child needs the same loader, whoever loaded this file.
  const execArgv = extname(program) === '.ts' ? ['--import', import.meta.resolve('tsx')] : [];
  const dir = mkdtempSync(join(tmpdir(), 'romulus-wire-'));
  const { tls } = await makeCertificates(join(dir, 'pki'), 'primary', ['127.0.0.1']);
  const { tls: peerTls } = await makeCertificates(join(dir, 'pki'), 'backup', ['127.0.0.1']);
  const child = fork(program, [String(unit), JSON.stringify(peerTls)], { execArgv });
  try {
    const ended = once(child, 'exit').then(([code]): never => {
      throw new RomulusError('INTERNAL', `the receiving process ended with ${code}`);
    });
    ended.catch(() => {}); // its end after the last row is no error
    const [ports] = (await Promise.race([once(child, 'message'), ended])) as [Ports];
    const raw = connect({ port: ports.rawPort, host: '127.0.0.1', noDelay: true });
    await once(raw, 'connect');
    const webSocket = await dial(
      { host: '127.0.0.1', port: ports.webSocketPort },
      undefined,
      (socket) => socket,
    );
    const agent = await AgentEnd.open(ports.agentPort);
    const secure = { ...loadTls(tls), checkServerIdentity: identityCheck('backup') };
    const rawTls = connectTls({ port: ports.rawTlsPort, host: '127.0.0.1', ...secure });
    await once(rawTls, 'secureConnect');
    const secureAgent = await AgentEnd.open(ports.agentTlsPort, secure);
    const data = Buffer.alloc(unit, 1);
    const rows: WireRow[] = [
      await roundTrips('raw-tcp', unit, epochs, () => rawRound(raw, data)),
      await roundTrips('websocket', unit, epochs, () => messageRound(webSocket, data)),
      await roundTrips('romulus', unit, epochs, () => agent.epoch()),
      await roundTrips('raw-tls', unit, epochs, () => rawRound(rawTls, data)),
      await roundTrips('romulus-tls', unit, epochs, () => secureAgent.epoch()),
      await rate('raw-tcp', rateMiB, (count) => rawBurst(raw, data, count)),
      await rate('websocket', rateMiB, (count) => messageBurst(webSocket, data, count)),
      await rate('romulus', rateMiB, (count) => agent.burst(count)),
      await rate('raw-tls', rateMiB, (count) => rawBurst(rawTls, data, count)),
      await rate('romulus-tls', rateMiB, (count) => secureAgent.burst(count)),
    ];
    for (const each of [raw, rawTls]) each.destroy();
    webSocket.terminate();
    secureAgent.close();
    agent.close();
    return rows;
  } finally {
    if (child.connected) child.disconnect();
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Sending half of an agent around a guest that rewrites 1 MiB each epoch. */
class AgentEnd {
  readonly #session: Session;
  readonly #capture: Capture;
  readonly #acks: { onAck: () => void };
  #epoch = 0;

  static async open(port: number, tls?: ConnectionOptions): Promise<AgentEnd> {
    const acks = { onAck: () => {} };
    const codecs = new CodecChoice(new LinkRate(1e12));
    const source = new WrittenMemory(RAM_BYTES, PAGES_PER_EPOCH);
    const session = await Session.open(
      {
        address: { host: '127.0.0.1', port },
        peer: 'backup',
        silenceMs: 30_000,
        ...(tls && { tls }),
        codecs,
        hello: {
          node: 'primary',
          vm: 'wire',
          term: 1,
          lineage: randomUUID(),
          acked: 0,
          geometry: source.geometry,
          spec: { name: 'wire', hypervisor: 'replay', memoryBytes: RAM_BYTES, cpus: 1 },
          protection: { failover: 'manual', onBackupLoss: 'hold', witness: false, silenceMs: 30_000 },
        },
      },
      { onAck: () => acks.onAck(), onAnswer: () => {}, onClose: () => {} },
    );
    await session.beginSync(randomUUID());
    const capture = new Capture(source, { threads: 1, maxSlabs: 16 });
    await capture.takeDirty();
    return new AgentEnd(session, capture, acks);
  }

  private constructor(session: Session, capture: Capture, acks: { onAck: () => void }) {
    this.#session = session;
    this.#capture = capture;
    this.#acks = acks;
  }

  /** One epoch; microseconds from the encoded epoch to its acknowledgement. */
  async epoch(): Promise<number> {
    this.#epoch += 1;
    const checkpoint = await this.#capture.checkpoint(this.#epoch, async () => {});
    const acked = new Promise<void>((resolve) => {
      this.#acks.onAck = resolve;
    });
    const began = performance.now();
    const departure = new Departure(this.#session, this.#capture, this.#epoch);
    departure.add(checkpoint.chunks);
    const outgoing = await departure.packed(checkpoint, began);
    await departure.commit(1, outgoing);
    await acked;
    const us = (performance.now() - began) * 1000;
    releaseEpoch(this.#capture, outgoing);
    return us;
  }

  /** `count` epochs one after the other without waiting for acknowledgements in between; ms until the last. */
  async burst(count: number): Promise<number> {
    let left = count;
    const acked = new Promise<void>((resolve) => {
      this.#acks.onAck = () => {
        left -= 1;
        if (left === 0) resolve();
      };
    });
    const first = this.#epoch + 1;
    const checkpoint = await this.#capture.checkpoint(first, async () => {});
    const began = performance.now();
    const departure = new Departure(this.#session, this.#capture, first);
    departure.add(checkpoint.chunks);
    const outgoing = await departure.packed(checkpoint, began);
    await departure.commit(1, outgoing);
    // The same absolute values again: applying them twice does no harm, and encoding is not what is measured.
    for (this.#epoch = first + 1; this.#epoch < first + count; this.#epoch++)
      await sendEpoch(this.#session, 1, { ...outgoing, epoch: this.#epoch });
    await acked;
    const ms = performance.now() - began;
    releaseEpoch(this.#capture, outgoing);
    return ms;
  }

  close(): void {
    this.#session.close();
    this.#capture.close();
  }
}

async function rawRound(socket: Socket, data: Buffer): Promise<number> {
  const began = performance.now();
  socket.write(data);
  await once(socket, 'data');
  return (performance.now() - began) * 1000;
}

async function rawBurst(socket: Socket, data: Buffer, count: number): Promise<number> {
  let left = count;
  const began = performance.now();
  const acked = new Promise<void>((resolve) => {
    socket.on('data', (answer) => {
      left -= answer.length;
      if (left <= 0) resolve();
    });
  });
  for (let i = 0; i < count; i++) if (!socket.write(data)) await once(socket, 'drain');
  await acked;
  socket.removeAllListeners('data');
  return performance.now() - began;
}

async function messageRound(socket: WebSocket, data: Buffer): Promise<number> {
  const began = performance.now();
  socket.send(data);
  await once(socket, 'message');
  return (performance.now() - began) * 1000;
}

async function messageBurst(socket: WebSocket, data: Buffer, count: number): Promise<number> {
  let left = count;
  const began = performance.now();
  const acked = new Promise<void>((resolve) => {
    socket.on('message', () => {
      left -= 1;
      if (left === 0) resolve();
    });
  });
  for (let i = 0; i < count; i++) await new Promise((taken) => socket.send(data, taken));
  await acked;
  socket.removeAllListeners('message');
  return performance.now() - began;
}

async function roundTrips(
  method: WireRow['method'],
  bytes: number,
  count: number,
  round: () => Promise<number>,
): Promise<WireRow> {
  for (let i = 0; i < WARM_UP; i++) await round();
  const us = new Samples();
  for (let i = 0; i < count; i++) us.add(await round());
  const { p50, p99 } = us.summary();
  return {
    method,
    what: 'round-trip',
    bytes,
    count,
    roundTripUs: { p50: Math.round(p50), p99: Math.round(p99) },
  };
}

async function rate(
  method: WireRow['method'],
  rateMiB: number,
  burst: (count: number) => Promise<number>,
): Promise<WireRow> {
  const bytes = PAGES_PER_EPOCH * PAGE_BYTES;
  const ms = await burst(rateMiB);
  return {
    method,
    what: 'rate',
    bytes,
    count: rateMiB,
    gbPerS: Math.round((bytes * rateMiB) / ms / 1e4) / 100,
  };
}
