/** `sch_plug` as it was measured on Debian's kernel, for hosts whose kernel has none: speaks netlink, counts packets. */

import { PlugAction } from '../../shared/net/netlink.ts';

const GET_QDISC = 38;
const OPTIONS_OFFSET = 16 + 20 + 12;
const HANDLE_OFFSET = 16 + 8;
const CREATE = 0x400;
const ECHO = 0x8;
const ENOENT = 2;
const EEXIST = 17;

export class FakePlug {
  readonly out: string[] = [];
  #queue: string[] = [];
  #handle = 0;
  #open = false;
  /** Packets of the epoch that the last BUFFER closed, and packets of the one going on. */
  #closed = 0;
  #current = 0;
  #mayGo = 0;

  send(packet: string): void {
    this.#queue.push(packet);
    this.#current += 1;
    this.#drain();
  }

  readonly request = (request: Buffer): Buffer => {
    const sequence = request.readUInt32LE(8);
    const type = request.readUInt16LE(4);
    if (type === GET_QDISC && request.readUInt16LE(6) & ECHO) return this.#figures(sequence);
    const flags = request.readUInt16LE(6);
    if (flags & CREATE) return acknowledgement(sequence, this.#create(request.readUInt32LE(HANDLE_OFFSET)));
    return acknowledgement(
      sequence,
      this.#handle !== 0 ? this.#act(request.readInt32LE(OPTIONS_OFFSET + 4)) : ENOENT,
    );
  };

  #create(handle: number): number {
    if (this.#handle === handle) return EEXIST;
    this.#handle = handle;
    this.#open = false;
    this.#queue = [];
    this.#closed = this.#current = this.#mayGo = 0;
    return 0;
  }

  #act(action: number): number {
    if (action === PlugAction.buffer) {
      this.#closed = this.#current;
      this.#current = 0;
      this.#open = false;
    } else if (action === PlugAction.releaseOne) {
      this.#mayGo += this.#closed;
      this.#closed = 0;
    } else if (action === PlugAction.releaseIndefinite) {
      this.#open = true;
      this.#closed = this.#current = this.#mayGo = 0;
    }
    this.#drain();
    return 0;
  }

  #drain(): void {
    while (this.#queue.length > 0 && (this.#open || this.#mayGo > 0)) {
      this.out.push(this.#queue.shift() as string);
      if (this.#open) this.#current = 0;
      else this.#mayGo -= 1;
    }
  }

  #figures(sequence: number): Buffer {
    const answer = Buffer.alloc(36 + 4 + 36);
    answer.writeUInt32LE(answer.length, 0);
    answer.writeUInt16LE(36, 4);
    answer.writeUInt32LE(sequence, 8);
    answer.writeUInt16LE(40, 36);
    answer.writeUInt16LE(3, 38);
    answer.writeUInt32LE(this.#queue.length, 40 + 28);
    answer.writeUInt32LE(
      this.#queue.reduce((sum, packet) => sum + packet.length, 0),
      40 + 32,
    );
    return answer;
  }
}

function acknowledgement(sequence: number, error: number): Buffer {
  const answer = Buffer.alloc(36);
  answer.writeUInt16LE(2, 4);
  answer.writeUInt32LE(sequence, 8);
  answer.writeInt32LE(-error, 16);
  return answer;
}
