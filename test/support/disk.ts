/** A disk of a few mebibytes in a folder of its own in tmpfs, where a test need not wait for storage, served to whoever connects. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { CHUNK_HEADROOM_BYTES, type Disk, type DiskOptions, engine } from '../../native/index.ts';
import { NbdClient } from './nbd-client.ts';

export const BLOCK_BYTES = 4096;

export class TestDisk {
  readonly dir: string;
  readonly image: string;
  readonly map: string;
  readonly socket: string;
  disk: Disk;
  pressed = 0;
  readonly #options: Partial<DiskOptions>;

  constructor(sizeBytes: number, options: Partial<DiskOptions> = {}) {
    this.dir = mkdtempSync('/dev/shm/romulus-disk-');
    this.image = join(this.dir, 'disk.img');
    this.map = join(this.dir, 'disk.map');
    this.socket = join(this.dir, 'nbd.sock');
    this.#options = { createBytes: sizeBytes, ...options };
    this.disk = this.#open();
  }

  #open(): Disk {
    const disk = engine().openDisk({
      path: this.image,
      mapPath: this.map,
      onPressure: () => {
        this.pressed += 1;
      },
      ...this.#options,
    });
    disk.serve(this.socket, 'test');
    disk.setWritable(true);
    return disk;
  }

  /** As an agent that died and came back would. */
  reopen(): void {
    this.disk.end();
    this.disk = this.#open();
  }

  client(): Promise<NbdClient> {
    return NbdClient.open(this.socket);
  }

  /** All payloads of the sealed epoch, copied out. */
  async takeAll(): Promise<Buffer[]> {
    const payloads: Buffer[] = [];
    for (let complete = false; !complete; ) {
      const taken = await this.disk.take();
      complete = taken.complete;
      for (const { buffer, payloadBytes, slab } of taken.chunks) {
        payloads.push(
          Buffer.from(buffer.subarray(CHUNK_HEADROOM_BYTES, CHUNK_HEADROOM_BYTES + payloadBytes)),
        );
        this.disk.release(slab);
      }
    }
    return payloads;
  }

  bytes(): Buffer {
    return readFileSync(this.image);
  }

  dispose(): void {
    this.disk.end();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export interface DiskRecord {
  offset: number;
  bytes: number;
  op: 'data' | 'zero' | 'trim';
}

/** The records of payloads, by the layout of native/disk/disk_payload.h. */
export function recordsOf(payloads: Buffer[]): DiskRecord[] {
  const records: DiskRecord[] = [];
  for (const payload of payloads) {
    for (let at = 0; at < payload.length; ) {
      const op = (['data', 'zero', 'trim'] as const)[payload.readUInt32LE(at + 16)];
      if (op === undefined) throw new Error('no such operation');
      const record = {
        offset: Number(payload.readBigUInt64LE(at)),
        bytes: Number(payload.readBigUInt64LE(at + 8)),
        op,
      };
      records.push(record);
      at += 24 + (op === 'data' ? record.bytes : 0);
    }
  }
  return records;
}
