/** A guest as the stream that Xen's own tools take: a save file for `xl restore`, or checkpoints for `xl migrate-receive -r`. */

import {
  emulatorRecord,
  hvmParams,
  libxcHeader,
  libxlHeader,
  OuterType,
  PAGES_PER_RECORD,
  pageData,
  RecordType,
  record,
  xlHeader,
} from './xen-records.ts';
import type { XenState } from './xen-state.ts';

/** Bytes of the standby image; the buffer may be overwritten by the next call. */
export type ReadPages = (page: number, pages: number) => Buffer;
/** Runs of pages of the index space, ascending: first page and count. */
export type PageRuns = Iterable<readonly [page: number, pages: number]>;

/** A complete save file, piece by piece. */
export function* saveFile(state: XenState, read: ReadPages): Generator<Buffer> {
  yield* streamStart(state);
  yield* pageRecords(state, read, allPages(state));
  yield* saveEnd(state);
}

/** What comes after the last page of a save file. Pages may come more than once before: the last word counts. */
export function* saveEnd(state: XenState): Generator<Buffer> {
  yield* cpuState(state);
  yield* record(RecordType.END);
  yield* modelRecords(state);
  yield* record(OuterType.END);
}

/** What comes before the first page, in a save file and in a stream of checkpoints alike. */
export function* streamStart(state: XenState): Generator<Buffer> {
  yield xlHeader(state.config);
  yield libxlHeader();
  yield libxcHeader(state.xenVersion);
  yield* record(RecordType.X86_CPUID_POLICY, state.leaves);
  yield* record(RecordType.X86_MSR_POLICY, state.msrs);
  yield* record(RecordType.STATIC_DATA_END);
}

/** One checkpoint; the receiver applies it only when it has all of it, but for the first, which it applies as it comes. */
export function* checkpoint(state: XenState, read: ReadPages, changed: PageRuns): Generator<Buffer> {
  yield* pageRecords(state, read, changed);
  yield* cpuState(state);
  yield* record(RecordType.CHECKPOINT);
  yield* modelRecords(state);
  yield* record(OuterType.CHECKPOINT_END);
}

/**
 * The word to go on, in a stream of checkpoints: libxc's receiver completes the domain from the last whole checkpoint and
 * libxl lets it run. (Xen's own sender never says it; there the end of the stream means the same.)
 */
export function goOn(): Buffer {
  return Buffer.concat(record(RecordType.END));
}

/** Every page there may be. */
export function allPages({ regions }: XenState): PageRuns {
  return regions.map(({ page, pages }) => [page, pages] as const);
}

function* cpuState(state: XenState): Generator<Buffer> {
  yield* record(RecordType.X86_TSC_INFO, state.tsc);
  yield* record(RecordType.HVM_CONTEXT, state.context);
  yield* hvmParams(state.params);
}

/** Of a guest that has a device model; to Xen they are an error in the stream of any other. */
function* modelRecords({ model }: XenState): Generator<Buffer> {
  if (model === undefined) return;
  // libxl writes no empty one either.
  if (model.xenstore.length > 0) yield* emulatorRecord(OuterType.EMULATOR_XENSTORE_DATA, model.xenstore);
  yield* emulatorRecord(OuterType.EMULATOR_CONTEXT, model.context);
}

/** PAGE_DATA of the pages in these runs that have a frame; frames that are not there need not be named. */
export function* pageRecords(state: XenState, read: ReadPages, runs: PageRuns): Generator<Buffer> {
  const { absent, regions } = state;
  const present = (page: number): boolean => (((absent[page >> 3] ?? 0) >> (page & 7)) & 1) === 0;
  for (const [first, pages] of runs) {
    for (const region of regions) {
      const end = Math.min(region.page + region.pages, first + pages);
      let page = Math.max(region.page, first);
      while (page < end) {
        if (!present(page)) {
          page++;
          continue;
        }
        let run = 1;
        while (run < PAGES_PER_RECORD && page + run < end && present(page + run)) run++;
        yield* pageData(region.gfn + (page - region.page), read(page, run));
        page += run;
      }
    }
  }
}
