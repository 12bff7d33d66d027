/** Reads a trace as a stream: what was dirty when, the memory it began with, then one epoch after the other. */

import { access, constants } from 'node:fs/promises';
import { engine, type Memory, type ZstdFile } from '../../native/index.ts';
import { PAGE_BYTES } from '../vm.ts';
import {
  bitmapBytes,
  decodeEpochRecord,
  decodeHeader,
  EPOCH_RECORD_BYTES,
  type EpochTimes,
  HEADER_BYTES,
  type TraceHeader,
  traceInvalid,
} from './trace-format.ts';

/** Pages read, and handed to the engine, at once: 1 MiB. */
const PIECE_PAGES = 256;

export interface TraceEpoch extends EpochTimes {
  /** Numbers of the dirty pages, ascending. */
  pages: Uint32Array;
}

export class TraceReader {
  readonly path: string;
  readonly header: TraceHeader;
  readonly epochs: readonly TraceEpoch[];
  readonly #source: ZstdFile;
  readonly #union: Uint32Array;
  readonly #piece = Buffer.allocUnsafe(PIECE_PAGES * PAGE_BYTES);
  #next = 0;

  private constructor(
    path: string,
    source: ZstdFile,
    index: { header: TraceHeader; epochs: TraceEpoch[]; union: Uint32Array },
  ) {
    this.path = path;
    this.#source = source;
    this.header = index.header;
    this.epochs = index.epochs;
    this.#union = index.union;
  }

  /** Opens a trace and reads all but page contents. Throws TRACE_INVALID, saying what is wrong and where. */
  static async open(path: string): Promise<TraceReader> {
    try {
      await access(path, constants.R_OK);
    } catch (cause) {
      throw traceInvalid(path, (cause as Error).message, cause);
    }
    const source = engine().openZstdFile(path);
    try {
      return new TraceReader(path, source, await readIndex(path, source));
    } catch (thrown) {
      source.close();
      throw thrown;
    }
  }

  /** How many epochs advance() has applied. */
  get applied(): number {
    return this.#next;
  }

  /** Writes the initial content into `memory`, zeroed and of header.ramBytes. Once, before the first advance(). */
  async loadInitial(memory: Memory): Promise<void> {
    await this.#xor(memory, this.#union, 'the initial content');
    if (this.epochs.length === 0) await this.#expectEnd();
  }

  /** Brings `memory` to the end of the next epoch and returns that epoch; undefined after the last. */
  async advance(memory: Memory): Promise<TraceEpoch | undefined> {
    const epoch = this.epochs[this.#next];
    if (epoch === undefined) return undefined;
    this.#next += 1;
    await this.#xor(memory, epoch.pages, `epoch ${this.#next}`);
    if (this.#next === this.epochs.length) await this.#expectEnd();
    return epoch;
  }

  close(): void {
    this.#source.close();
  }

  async #xor(memory: Memory, pages: Uint32Array, where: string): Promise<void> {
    for (let first = 0; first < pages.length; first += PIECE_PAGES) {
      const some = pages.subarray(first, first + PIECE_PAGES);
      const data = this.#piece.subarray(0, some.length * PAGE_BYTES);
      await readExactly(this.path, this.#source, data, where);
      engine().xorPages(memory, some, data);
    }
  }

  async #expectEnd(): Promise<void> {
    if ((await read(this.path, this.#source, this.#piece.subarray(0, 1), 'its last epoch')) > 0) {
      throw traceInvalid(this.path, 'bytes are left over after its last epoch');
    }
  }
}

async function readExactly(path: string, source: ZstdFile, data: Buffer, where: string): Promise<void> {
  if ((await read(path, source, data, where)) < data.length)
    throw traceInvalid(path, `it ends within ${where}`);
}

async function read(path: string, source: ZstdFile, into: Buffer, where: string): Promise<number> {
  try {
    return await source.fill(into);
  } catch (cause) {
    throw traceInvalid(path, `it ends within ${where} (${(cause as Error).message})`, cause);
  }
}

async function readIndex(
  path: string,
  source: ZstdFile,
): Promise<{ header: TraceHeader; epochs: TraceEpoch[]; union: Uint32Array }> {
  const piece = async (bytes: number, where: string): Promise<Buffer> => {
    const data = Buffer.allocUnsafe(bytes);
    await readExactly(path, source, data, where);
    return data;
  };
  const header = decodeHeader(path, await piece(HEADER_BYTES, 'its header'));
  const records = await piece(header.epochs * EPOCH_RECORD_BYTES, 'the list of its epochs');
  const epochs: TraceEpoch[] = [];
  const pages = header.ramBytes / PAGE_BYTES;
  const union = engine().createBitmap(pages);
  const bitmap = engine().createBitmap(pages);
  const words = Buffer.allocUnsafe(bitmapBytes(header.ramBytes));
  let total = 0;
  for (let i = 0; i < header.epochs; i++) {
    const { dirtyPages, ...times } = decodeEpochRecord(records, i * EPOCH_RECORD_BYTES);
    await readExactly(path, source, words, `the bitmap of epoch ${i + 1}`);
    bitmap.clear();
    // A last word may reach beyond the last page; those bits mean nothing.
    bitmap.load(words.subarray(0, Math.ceil(pages / 8)));
    const found = bitmap.count();
    total += found;
    if (found !== dirtyPages || total > header.dirtyPages) {
      throw traceInvalid(path, `epoch ${i + 1} names ${dirtyPages} dirty pages, its bitmap ${found}`);
    }
    union.or(bitmap);
    epochs.push({ ...times, pages: engine().pageNumbers(bitmap) });
  }
  if (total !== header.dirtyPages || union.count() !== header.unionPages) {
    const found = `its bitmaps hold ${total} dirty pages, ${union.count()} different ones`;
    throw traceInvalid(path, `${found}; its header names ${header.dirtyPages} and ${header.unionPages}`);
  }
  // The hashes cover pages whose content is not stored; only who compares two recordings can use them.
  const hashes = Buffer.allocUnsafe(PIECE_PAGES * PAGE_BYTES);
  for (let left = pages * 8; left > 0; left -= hashes.length) {
    await readExactly(path, source, hashes.subarray(0, Math.min(left, hashes.length)), 'its page hashes');
  }
  return { header, epochs, union: engine().pageNumbers(union) };
}
