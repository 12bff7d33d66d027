/** Everything beside memory that a Xen guest needs to go on elsewhere, as one buffer: what deviceState() gives and a target takes. */

import { pack, unpack } from 'msgpackr';
import { RomulusError } from '../errors.ts';
import { MAX_STATE_BYTES } from '../limits.ts';

/**
 * A change of meaning gets a new number; readers know all older ones. Version 2 has a device model, without which a guest that has
 * one must not be started; what has none is written as version 1, which older readers know.
 */
const STATE_VERSIONS = { plain: 1, model: 2 } as const;

/** `pages` guest frames from `gfn` on, whose pages lie from `page` on in the standby image. */
export interface GuestRegion {
  gfn: number;
  page: number;
  pages: number;
}

/** The device model of an HVM guest, as bodies of libxl's records without their heads. */
export interface ModelState {
  /** EMULATOR_CONTEXT: what QEMU's own `xen-save-devices-state` writes, opaque. */
  context: Buffer;
  /** EMULATOR_XENSTORE_DATA: pairs of NUL-ended key and value, relative to the model's place in xenstore; mostly empty. */
  xenstore: Buffer;
}

export interface XenState {
  /** "4.17": the context's format is that release's. */
  xenVersion: string;
  /** libxl's JSON configuration of the domain. */
  config: string;
  regions: GuestRegion[];
  /** Bits of the index space: pages without a frame. */
  absent: Buffer;
  /** Bodies of records of Xen's stream: X86_CPUID_POLICY, X86_MSR_POLICY, X86_TSC_INFO, HVM_CONTEXT, HVM_PARAMS (pairs only). */
  leaves: Buffer;
  msrs: Buffer;
  tsc: Buffer;
  context: Buffer;
  params: Buffer;
  /** Of an HVM guest; a PVH guest has none. */
  model?: ModelState;
}

const FIELDS = ['leaves', 'msrs', 'tsc', 'context', 'params', 'absent'] as const;

export function packXenState(state: XenState): Buffer {
  const regions = state.regions.map(({ gfn, page, pages }) => [gfn, page, pages]);
  const version = state.model === undefined ? STATE_VERSIONS.plain : STATE_VERSIONS.model;
  return pack({ ...state, regions, absent: absentRuns(state.absent), version });
}

/** Throws IMAGE_CORRUPT for anything that packXenState() could not have written. */
export function unpackXenState(packed: Buffer): XenState {
  const corrupt = (why: string): RomulusError =>
    new RomulusError('IMAGE_CORRUPT', `not the state of a Xen guest: ${why}`, { hint: 'romulus resync VM' });
  if (packed.length > MAX_STATE_BYTES) throw corrupt('too long');
  let raw: Record<string, unknown>;
  try {
    raw = unpack(packed) as Record<string, unknown>;
  } catch {
    throw corrupt('it does not decode');
  }
  if (raw === null || typeof raw !== 'object') throw corrupt('it does not decode');
  const hasModel = raw.version === STATE_VERSIONS.model;
  if (!hasModel && raw.version !== STATE_VERSIONS.plain) throw corrupt('unknown version');
  if (!Array.isArray(raw.regions) || typeof raw.config !== 'string' || typeof raw.xenVersion !== 'string')
    throw corrupt('fields are missing');
  const regions = (raw.regions as unknown[]).map((region) => {
    if (
      !Array.isArray(region) ||
      region.length !== 3 ||
      !region.every((n) => Number.isSafeInteger(n) && n >= 0)
    )
      throw corrupt('a region is malformed');
    const [gfn, page, pages] = region as [number, number, number];
    return { gfn, page, pages };
  });
  const last = regions.at(-1);
  if (last === undefined) throw corrupt('it has no memory');
  const bits = Buffer.alloc(Math.ceil((last.page + last.pages) / 64) * 8);
  for (const [page, count] of raw.absent as [number, number][]) {
    if (page + count > bits.length * 8) throw corrupt('absent pages lie outside memory');
    for (let p = page; p < page + count; p++) bits[p >> 3] = (bits[p >> 3] as number) | (1 << (p & 7));
  }
  for (const field of FIELDS)
    if (field !== 'absent' && !Buffer.isBuffer(raw[field])) throw corrupt(`${field} is missing`);
  if (hasModel !== isModelState(raw.model)) throw corrupt('its device model is malformed');
  return { ...(raw as unknown as XenState), regions, absent: bits };
}

function isModelState(value: unknown): value is ModelState {
  const { context, xenstore } = (value ?? {}) as Partial<ModelState>;
  return Buffer.isBuffer(context) && Buffer.isBuffer(xenstore);
}

/** Runs (first page, pages) of set bits: a guest that does not balloon has a handful. */
function absentRuns(bits: Buffer): [number, number][] {
  const runs: [number, number][] = [];
  let open = -1;
  for (let page = 0; page < bits.length * 8; page++) {
    const byte = bits[page >> 3] as number;
    if ((page & 7) === 0 && ((open < 0 && byte === 0) || (open >= 0 && byte === 0xff))) {
      page += 7;
      continue;
    }
    const set = (byte >> (page & 7)) & 1;
    if (set && open < 0) open = page;
    else if (!set && open >= 0) {
      runs.push([open, page - open]);
      open = -1;
    }
  }
  if (open >= 0) runs.push([open, bits.length * 8 - open]);
  return runs;
}
