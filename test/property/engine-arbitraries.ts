/** What a guest does to its memory, as fast-check sees it. */

import fc from 'fast-check';
import type { EncodedChunk, Memory } from '../../native/index.ts';
import { CHUNK_HEADROOM_BYTES } from '../../native/index.ts';
import { PAGE_BYTES } from '../../shared/vm.ts';

/** One store: `length` bytes of `value` at `offset` of page `page`. */
export interface Store {
  page: number;
  offset: number;
  length: number;
  /** 0 makes zero pages likely; -1 stands for bytes that all differ. */
  value: number;
}

export function stores(pages: number, maxLength = 60): fc.Arbitrary<Store[]> {
  const store = fc.record({
    page: fc.nat(pages - 1),
    offset: fc.nat(PAGE_BYTES - 1),
    length: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constant(PAGE_BYTES)),
    value: fc.oneof(fc.constant(0), fc.constant(-1), fc.integer({ min: 1, max: 255 })),
  });
  return fc.array(store, { maxLength });
}

/** Carries out a store; it ends at the end of its page. */
export function perform(memory: Memory, { page, offset, length, value }: Store): void {
  const start = length === PAGE_BYTES ? 0 : offset;
  const bytes = Buffer.alloc(Math.min(length, PAGE_BYTES - start), value < 0 ? 0 : value);
  if (value < 0) for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 167 + offset + (i >> 8)) & 0xff;
  memory.write(page * PAGE_BYTES + start, bytes);
}

/** The payload within a chunk's slab. */
export function payloadOf(chunk: EncodedChunk): Buffer {
  return chunk.buffer.subarray(CHUNK_HEADROOM_BYTES, CHUNK_HEADROOM_BYTES + chunk.payloadBytes);
}
