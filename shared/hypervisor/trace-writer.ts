/** Writes a trace while a guest is being recorded: page data is parked in a file until the index before it is known. */

import { createReadStream } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { type DirtyBitmap, engine, type Memory } from '../../native/index.ts';
import { PAGE_BYTES } from '../vm.ts';
import {
  bitmapBytes,
  type EpochRecord,
  type EpochTimes,
  encodeEpochRecord,
  encodeHeader,
} from './trace-format.ts';
import { ZstdSink } from './zstd-pipe.ts';

const PIECE_PAGES = 256;
const HASH_PAGES = 16384;
/** Bytes of the index handed over at once. */
const PIECE_BYTES = 1024 * 1024;

export class TraceWriter {
  readonly #path: string;
  readonly #name: string;
  readonly #epochMs: number;
  readonly #parked: FileHandle;
  /** Memory as of the last epoch, and (only for pages dirty since) as of the beginning. */
  readonly #previous: Memory;
  readonly #initial: Memory;
  readonly #union: DirtyBitmap;
  #hashes = new Uint8Array();
  readonly #records: EpochRecord[] = [];
  readonly #bitmaps: Uint32Array[] = [];

  /** Takes the guest's memory, paused, as the initial content. Twice `memory` is needed as RAM, at most. */
  static async create(
    path: string,
    memory: Memory,
    about: { name: string; epochMs: number },
  ): Promise<TraceWriter> {
    return new TraceWriter(path, await open(`${path}.pages`, 'w+', 0o600), memory, about);
  }

  private constructor(
    path: string,
    parked: FileHandle,
    memory: Memory,
    about: { name: string; epochMs: number },
  ) {
    const pages = memory.sizeBytes / PAGE_BYTES;
    this.#path = path;
    this.#parked = parked;
    this.#name = about.name;
    this.#epochMs = about.epochMs;
    this.#previous = engine().anonymousMemory(memory.sizeBytes);
    this.#initial = engine().anonymousMemory(memory.sizeBytes);
    this.#union = engine().createBitmap(pages);
    this.#copyAll(memory, pages);
  }

  /** Pages that were never touched are not read, and pages of zeros not copied, so that a sparse guest stays sparse. */
  #copyAll(memory: Memory, pages: number): void {
    const touched = engine().createBitmap(pages);
    touched.setAll();
    engine().skipUntouched(memory, touched);
    const hashes = new BigUint64Array(pages);
    const runs = touched.runs();
    for (let i = 0; i < runs.length; i += 2) {
      const start = runs[i] ?? 0;
      const end = start + (runs[i + 1] ?? 0);
      for (let first = start; first < end; first += HASH_PAGES) {
        const some = engine().pageHashes(memory, first, Math.min(HASH_PAGES, end - first));
        hashes.set(some, first);
        const used: number[] = [];
        some.forEach((hash, at) => {
          if (hash !== 0n) used.push(first + at);
        });
        engine().copyPages(memory, this.#previous, Uint32Array.from(used));
      }
    }
    this.#hashes = new Uint8Array(hashes.buffer);
  }

  get epochs(): number {
    return this.#records.length;
  }

  /** Adds one epoch of the paused guest: `pages` were dirtied in it. Returns ms spent on copying. */
  async add(
    memory: Memory,
    pages: Uint32Array,
    times: Omit<EpochTimes, 'copyMs' | 'contMs'>,
  ): Promise<number> {
    const began = performance.now();
    const fresh = pages.filter((page) => !this.#union.test(page));
    engine().copyPages(this.#previous, this.#initial, fresh);
    for (const page of fresh) this.#union.set(page);
    for (let first = 0; first < pages.length; first += PIECE_PAGES) {
      const some = pages.subarray(first, first + PIECE_PAGES);
      const data = Buffer.allocUnsafe(some.length * PAGE_BYTES);
      engine().diffPages(memory, this.#previous, some, data);
      await this.#parked.write(data);
    }
    const copyMs = performance.now() - began;
    this.#records.push({ dirtyPages: pages.length, ...times, copyMs, contMs: 0 });
    this.#bitmaps.push(pages);
    return copyMs;
  }

  /** How long resuming the guest took after the epoch added last. */
  resumed(contMs: number): void {
    const last = this.#records.at(-1);
    if (last !== undefined) last.contMs = contMs;
  }

  /** Writes the file; the parked data is removed. */
  async finish(): Promise<void> {
    const sink = new ZstdSink(this.#path);
    const union = engine().pageNumbers(this.#union);
    const dirtyPages = this.#records.reduce((sum, record) => sum + record.dirtyPages, 0);
    const { sizeBytes } = this.#previous;
    await sink.write(
      encodeHeader({
        name: this.#name,
        ramBytes: sizeBytes,
        epochMs: this.#epochMs,
        epochs: this.#records.length,
        unionPages: union.length,
        dirtyPages,
      }),
    );
    for (const record of this.#records) await sink.write(encodeEpochRecord(record));
    for (const pages of this.#bitmaps) await sink.write(bitmapOf(pages, bitmapBytes(sizeBytes)));
    for (let at = 0; at < this.#hashes.length; at += PIECE_BYTES)
      await sink.write(this.#hashes.subarray(at, at + PIECE_BYTES));
    for (let first = 0; first < union.length; first += PIECE_PAGES) {
      const some = union.subarray(first, first + PIECE_PAGES);
      const data = Buffer.allocUnsafe(some.length * PAGE_BYTES);
      engine().gatherPages(this.#initial, some, data);
      await sink.write(data);
    }
    for await (const piece of createReadStream(`${this.#path}.pages`)) await sink.write(piece as Buffer);
    await sink.finish();
    await this.discard();
  }

  /** Lets go of memory and parked data; the trace is written already, or not wanted. */
  async discard(): Promise<void> {
    await this.#parked.close();
    await rm(`${this.#path}.pages`, { force: true });
    this.#previous.close();
    this.#initial.close();
  }
}

function bitmapOf(pages: Uint32Array, bytes: number): Uint8Array {
  const bitmap = new Uint8Array(bytes);
  for (const page of pages) bitmap[page >> 3] = (bitmap[page >> 3] ?? 0) | (1 << (page & 7));
  return bitmap;
}
