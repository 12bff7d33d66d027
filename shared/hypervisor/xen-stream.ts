/** A guest as the stream that Xen's own tools take: a save file for `xl restore`, or checkpoints for `xl migrate-receive -r`. */

import {
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
/** Whether a page is wanted in this checkpoint. */
export type WantsPage = (page: number) => boolean;

/** A complete save file, piece by piece. */
export function* saveFile(state: XenState, read: ReadPages): Generator<Buffer> {
  yield* streamStart(state);
  yield* pagesOf(state, read, () => true);
  yield* cpuState(state);
  yield* record(RecordType.END);
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

/** One checkpoint; the receiver applies it only when it has all of it. The first must want every page. */
export function* checkpoint(state: XenState, read: ReadPages, wants: WantsPage): Generator<Buffer> {
  yield* pagesOf(state, read, wants);
  yield* cpuState(state);
  yield* record(RecordType.CHECKPOINT);
  yield* record(OuterType.CHECKPOINT_END);
}

function* cpuState(state: XenState): Generator<Buffer> {
  yield* record(RecordType.X86_TSC_INFO, state.tsc);
  yield* record(RecordType.HVM_CONTEXT, state.context);
  yield* hvmParams(state.params);
}

/** PAGE_DATA of every wanted page that has a frame; frames that are not there need not be named. */
function* pagesOf(state: XenState, read: ReadPages, wants: WantsPage): Generator<Buffer> {
  const { absent } = state;
  const sent = (page: number): boolean => (((absent[page >> 3] ?? 0) >> (page & 7)) & 1) === 0 && wants(page);
  for (const region of state.regions) {
    const end = region.page + region.pages;
    let page = region.page;
    while (page < end) {
      if (!sent(page)) {
        page++;
        continue;
      }
      let run = 1;
      while (run < PAGES_PER_RECORD && page + run < end && sent(page + run)) run++;
      yield* pageData(region.gfn + (page - region.page), read(page, run));
      page += run;
    }
  }
}
