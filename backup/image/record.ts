/** The standby image's own record: which lineage and epoch the image holds; two slots, so that a torn write loses nothing. */

import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { engine } from '../../native/index.ts';
import { ioError } from '../../shared/durable-file.ts';
import type { Epoch } from '../../shared/vm.ts';

export interface ImageRecord {
  lineage: string;
  /** Term of the primary that made it: epochs of different terms do not compare. */
  term: number;
  /** Last epoch applied whole; epochs staged after it are applied again at the next start. */
  applied: Epoch;
  /** True until the first epoch is committed: the image is a mixture and not promotable. */
  syncing: boolean;
  ramBytes: number;
  stateBytes: number;
  digest: string;
  stateDigest: string;
}

const SLOT_BYTES = 1024;

/** Slot layout: u32 CRC-32C of the rest, u32 length, u64 sequence, JSON. The newer valid slot counts. */
export class RecordFile {
  readonly #fd: number;
  readonly #path: string;
  #sequence = 0n;
  #current: ImageRecord | undefined;

  constructor(path: string) {
    this.#path = path;
    try {
      this.#fd = openSync(path, 'r+');
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw ioError(`cannot open ${path}`, cause);
      this.#fd = openSync(path, 'w+', 0o600);
    }
    for (const slot of [0, 1]) this.#load(slot);
  }

  get current(): ImageRecord | undefined {
    return this.#current;
  }

  write(record: ImageRecord): void {
    const body = Buffer.from(JSON.stringify(record));
    const slot = Buffer.alloc(SLOT_BYTES);
    slot.writeUInt32LE(body.length, 4);
    slot.writeBigUInt64LE(this.#sequence + 1n, 8);
    body.copy(slot, 16);
    slot.writeUInt32LE(engine().crc32c(slot.subarray(4)), 0);
    try {
      writeSync(this.#fd, slot, 0, SLOT_BYTES, Number((this.#sequence + 1n) % 2n) * SLOT_BYTES);
    } catch (cause) {
      throw ioError(`cannot write ${this.#path}`, cause);
    }
    this.#sequence += 1n;
    this.#current = record;
  }

  close(): void {
    closeSync(this.#fd);
  }

  #load(index: number): void {
    const slot = Buffer.alloc(SLOT_BYTES);
    if (readSync(this.#fd, slot, 0, SLOT_BYTES, index * SLOT_BYTES) !== SLOT_BYTES) return;
    const length = slot.readUInt32LE(4);
    if (length > SLOT_BYTES - 16 || slot.readUInt32LE(0) !== engine().crc32c(slot.subarray(4))) return;
    const sequence = slot.readBigUInt64LE(8);
    if (sequence <= this.#sequence) return;
    this.#sequence = sequence;
    this.#current = JSON.parse(slot.subarray(16, 16 + length).toString()) as ImageRecord;
  }
}
