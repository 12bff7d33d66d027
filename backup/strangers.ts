/** Connections that have not said yet who they are: bounded in number, per address and in all, in time and in bytes. */

import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connectingLimits } from '../shared/wire/connecting.ts';

export interface StrangerLimits {
  /** Strangers at once. */
  total: number;
  /** Strangers at once from one address; a peer whose agent restarts comes with one connection a VM. */
  perAddress: number;
  /** From the connection to a hello that was let in; TLS, HTTP and the hello itself share this time. */
  admissionMs: number;
  /** Bytes of WebSocket a stranger may send; a hello is much smaller. */
  bytes: number;
}

/** `admissionMs` where the config grants peers no longer silence. */
export const STRANGER_LIMITS: StrangerLimits = {
  total: 1024,
  perAddress: 128,
  admissionMs: connectingLimits(0).admissionMs,
  bytes: 256 * 1024,
};

/** Why a stranger was turned away. `protocol`: neither TLS nor HTTP, or a certificate that is not trusted. */
export const refusals = ['crowded', 'late', 'bytes', 'protocol'] as const;
export type Refusal = (typeof refusals)[number];

interface Stranger {
  address: string;
  /** What ends with the connection, and ends it. */
  stream: Duplex;
  timer: NodeJS.Timeout;
  stopCounting: () => void;
}

/** A connection is known here by its remote end, which the socket and the TLS socket around it have in common. */
type RemoteEnd = Pick<Socket, 'remoteAddress' | 'remotePort'>;

export class Strangers {
  readonly #limits: StrangerLimits;
  readonly #open = new Map<string, Stranger>();
  readonly #perAddress = new Map<string, number>();
  /** How many were turned away so far, by reason. */
  readonly refused: Record<Refusal, number> = { crowded: 0, late: 0, bytes: 0, protocol: 0 };

  constructor(limits: StrangerLimits = STRANGER_LIMITS) {
    this.#limits = limits;
  }

  /** Bytes of WebSocket that a stranger may send. */
  get bytes(): number {
    return this.#limits.bytes;
  }

  /** A connection came in. False, and the socket is destroyed, when there is no room for it. */
  arrived(socket: Socket): boolean {
    const address = socket.remoteAddress ?? '';
    const fromThere = this.#perAddress.get(address) ?? 0;
    if (this.#open.size >= this.#limits.total || fromThere >= this.#limits.perAddress) {
      this.#refuse(socket, 'crowded');
      return false;
    }
    const key = keyOf(socket);
    const timer = setTimeout(() => this.#refuse(stranger.stream, 'late'), this.#limits.admissionMs);
    const stranger: Stranger = { address, stream: socket, timer, stopCounting: () => {} };
    this.#open.set(key, stranger);
    this.#perAddress.set(address, fromThere + 1);
    this.#leaveWith(socket, key);
    return true;
  }

  /** The connection goes on in another socket than it came in with. */
  moved(socket: Socket): void {
    const key = keyOf(socket);
    const stranger = this.#open.get(key);
    if (stranger === undefined) return;
    stranger.stream = socket;
    this.#leaveWith(socket, key);
  }

  /**
   * Counts what comes from now on, `head` included. Call it just before the WebSocket takes the stream over: a listener
   * alone would set it flowing.
   */
  count(stream: Duplex & RemoteEnd, head: Buffer): void {
    const stranger = this.#open.get(keyOf(stream));
    if (stranger === undefined) return;
    let received = head.length;
    const onData = (data: Buffer) => {
      received += data.length;
      if (received > this.#limits.bytes) this.#refuse(stream, 'bytes');
    };
    stream.on('data', onData);
    stranger.stopCounting = () => stream.off('data', onData);
  }

  /** The connection proved who it is: none of the limits is about it any more. */
  known(stream: RemoteEnd): void {
    this.#leave(keyOf(stream));
  }

  /** Neither TLS nor HTTP was spoken; whoever speaks them destroys the socket. */
  spokeNonsense(): void {
    this.refused.protocol += 1;
  }

  get size(): number {
    return this.#open.size;
  }

  #refuse(stream: Duplex, reason: Refusal): void {
    this.refused[reason] += 1;
    stream.destroy();
  }

  #leaveWith(socket: Socket, key: string): void {
    socket.once('close', () => {
      if (this.#open.get(key)?.stream === socket) this.#leave(key);
    });
  }

  #leave(key: string): void {
    const stranger = this.#open.get(key);
    if (stranger === undefined) return;
    this.#open.delete(key);
    clearTimeout(stranger.timer);
    stranger.stopCounting();
    const left = (this.#perAddress.get(stranger.address) ?? 1) - 1;
    if (left > 0) this.#perAddress.set(stranger.address, left);
    else this.#perAddress.delete(stranger.address);
  }
}

function keyOf({ remoteAddress, remotePort }: RemoteEnd): string {
  return `${remoteAddress} ${remotePort}`;
}
