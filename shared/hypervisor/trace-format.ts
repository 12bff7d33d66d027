/**
 * The format of recorded dirty-page traces: one zstd stream, little endian.
 *
 *   header     "FTRACE1\0", u64 guest RAM bytes, u32 epoch ms, u32 epochs, u32 union pages, u32 dirty pages of all
 *              epochs together, char name[32]
 *   per epoch  u32 dirty pages; f32 run, stop, scan, copy, cont (ms)
 *   per epoch  bitmap, one bit per 4 KiB page of guest RAM, bit i of word w = page 64w + i
 *   once       u64 hash of each page of the initial RAM, 0 for a page of zeros
 *   once       initial content of each page of the union, ascending
 *   per epoch  content of each dirty page XOR its content before, ascending
 *
 * The union holds every page that is dirty in some epoch; a page outside it never changes and reads as zeros.
 */

import { RomulusError } from '../errors.ts';
import { MAX_RAM_BYTES } from '../limits.ts';
import { PAGE_BYTES } from '../vm.ts';

export const HEADER_BYTES = 64;
export const EPOCH_RECORD_BYTES = 24;
const MAGIC = Buffer.from('FTRACE1\0', 'latin1');
const NAME_BYTES = 32;

/** Epochs of one trace: a day of 25 ms epochs is 3.5 million. */
export const MAX_TRACE_EPOCHS = 2 ** 22;
/** Dirty pages of all epochs together: their numbers are kept, 4 bytes each, so at most 1 GiB. */
export const MAX_TRACE_DIRTY_PAGES = 2 ** 28;

export interface TraceHeader {
  name: string;
  ramBytes: number;
  epochMs: number;
  epochs: number;
  /** Pages dirty in any epoch. */
  unionPages: number;
  /** Sum of the dirty pages of all epochs. */
  dirtyPages: number;
}

/** How long the steps of one epoch took while it was recorded, in ms. */
export interface EpochTimes {
  runMs: number;
  stopMs: number;
  scanMs: number;
  copyMs: number;
  contMs: number;
}

export interface EpochRecord extends EpochTimes {
  dirtyPages: number;
}

export function traceInvalid(path: string, detail: string, cause?: unknown): RomulusError {
  return new RomulusError('TRACE_INVALID', `${path} is not a whole trace: ${detail}`, {
    hint: `zstd -t ${path} tells whether the file is damaged; romulus record makes a new one`,
    cause,
  });
}

/** Bytes of one epoch's bitmap: whole 64-bit words. */
export function bitmapBytes(ramBytes: number): number {
  return Math.ceil(ramBytes / PAGE_BYTES / 64) * 8;
}

/** Decodes and checks a header; throws TRACE_INVALID naming the field, before anything is allocated for it. */
export function decodeHeader(path: string, data: Buffer): TraceHeader {
  if (!data.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw traceInvalid(path, 'it does not begin with "FTRACE1"');
  }
  const ramBytes = Number(data.readBigUInt64LE(8));
  const header: TraceHeader = {
    name: data.toString('utf8', 32, 32 + NAME_BYTES).replace(/\0.*$/s, ''),
    ramBytes,
    epochMs: data.readUInt32LE(16),
    epochs: data.readUInt32LE(20),
    unionPages: data.readUInt32LE(24),
    dirtyPages: data.readUInt32LE(28),
  };
  const bound = (field: keyof TraceHeader, most: number, least: number): void => {
    const value = header[field] as number;
    if (value < least || value > most) {
      throw traceInvalid(path, `its header names ${value} as ${field}, allowed are ${least} to ${most}`);
    }
  };
  bound('ramBytes', MAX_RAM_BYTES, PAGE_BYTES);
  if (ramBytes % PAGE_BYTES !== 0) throw traceInvalid(path, `ramBytes ${ramBytes} are not whole pages`);
  bound('epochs', MAX_TRACE_EPOCHS, 0);
  bound('unionPages', Math.min(ramBytes / PAGE_BYTES, header.dirtyPages), 0);
  bound('dirtyPages', Math.min(MAX_TRACE_DIRTY_PAGES, header.unionPages * header.epochs), 0);
  return header;
}

export function encodeHeader(header: TraceHeader): Buffer {
  const data = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(data);
  data.writeBigUInt64LE(BigInt(header.ramBytes), 8);
  data.writeUInt32LE(header.epochMs, 16);
  data.writeUInt32LE(header.epochs, 20);
  data.writeUInt32LE(header.unionPages, 24);
  data.writeUInt32LE(header.dirtyPages, 28);
  // Decoding as a stream leaves out a character that the cut went through.
  const name = Buffer.from(header.name, 'utf8').subarray(0, NAME_BYTES);
  data.write(new TextDecoder().decode(name, { stream: true }), 32, 'utf8');
  return data;
}

export function decodeEpochRecord(data: Buffer, offset: number): EpochRecord {
  return {
    dirtyPages: data.readUInt32LE(offset),
    runMs: data.readFloatLE(offset + 4),
    stopMs: data.readFloatLE(offset + 8),
    scanMs: data.readFloatLE(offset + 12),
    copyMs: data.readFloatLE(offset + 16),
    contMs: data.readFloatLE(offset + 20),
  };
}

export function encodeEpochRecord(record: EpochRecord): Buffer {
  const data = Buffer.alloc(EPOCH_RECORD_BYTES);
  data.writeUInt32LE(record.dirtyPages, 0);
  data.writeFloatLE(record.runMs, 4);
  data.writeFloatLE(record.stopMs, 8);
  data.writeFloatLE(record.scanMs, 12);
  data.writeFloatLE(record.copyMs, 16);
  data.writeFloatLE(record.contMs, 20);
  return data;
}
