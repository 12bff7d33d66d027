/** The outside of a tap: an address of this host on it, and a UDP socket that hears what a guest's frames bring. */

import { execFileSync } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

const OUTSIDE = '10.78.0.1';
const GUEST = '10.78.0.2';
const PORT = 7801;
const GUEST_MAC = '525400780002';
const ETHERNET_BYTES = 14;
const IP_BYTES = 20;
const UDP_BYTES = 8;

/** An Ethernet broadcast that carries `text` by UDP from the guest to this host. */
export function datagramFrame(text: string, padToBytes = 0): Buffer {
  const payload = Buffer.alloc(Math.max(text.length, padToBytes));
  payload.write(text);
  const frame = Buffer.alloc(ETHERNET_BYTES + IP_BYTES + UDP_BYTES + payload.length);
  frame.write(`ffffffffffff${GUEST_MAC}0800`, 'hex');
  const ip = frame.subarray(ETHERNET_BYTES);
  ip[0] = 0x45;
  ip.writeUInt16BE(ip.length, 2);
  ip[8] = 64;
  ip[9] = 17;
  ip.set(GUEST.split('.').map(Number), 12);
  ip.set(OUTSIDE.split('.').map(Number), 16);
  let sum = 0;
  for (let at = 0; at < IP_BYTES; at += 2) sum += ip.readUInt16BE(at);
  ip.writeUInt16BE(~(sum + (sum >>> 16)) & 0xffff, 10);
  ip.writeUInt16BE(PORT, 20);
  ip.writeUInt16BE(PORT, 22);
  ip.writeUInt16BE(UDP_BYTES + payload.length, 24);
  payload.copy(ip, IP_BYTES + UDP_BYTES);
  return frame;
}

export class Outside {
  readonly heard: string[] = [];
  readonly #socket: Socket;
  #onHeard: () => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('message', (data) => {
      this.heard.push(data.toString('latin1').replace(/\0+$/, ''));
      this.#onHeard();
    });
  }

  /** Gives the tap, which must exist, this host's address. */
  static async on(tap: string): Promise<Outside> {
    execFileSync('ip', ['address', 'add', `${OUTSIDE}/24`, 'dev', tap]);
    const socket = createSocket('udp4');
    socket.bind(PORT, OUTSIDE);
    await once(socket, 'listening');
    socket.setRecvBufferSize(8 * 1024 * 1024);
    return new Outside(socket);
  }

  /** Resolves once so many datagrams were heard in all. */
  async hears(count: number): Promise<string[]> {
    while (this.heard.length < count) {
      await new Promise<void>((resolve) => {
        this.#onHeard = resolve;
      });
    }
    return this.heard;
  }

  /** Makes the host ask for the guest's MAC: the tap carries an ARP request into the guest. */
  call(): void {
    this.#socket.send('hello', PORT, GUEST);
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#socket.close(() => resolve()));
  }
}
