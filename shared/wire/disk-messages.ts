/** What the two sides say about a replicated disk, within the heads of sync and ready: types, and the checks they must pass. */

import { RomulusError } from '../errors.ts';

/** 64 TiB. */
export const MAX_DISK_BYTES = 2 ** 46;
/** One bit for each block of the dirty map: 2^23 of them. */
export const MAX_DIRTY_MAP_BYTES = 2 ** 20;
/** A pair is named by a UUID. */
const PAIR = /^[0-9a-f-]{1,64}$/;

/** Within `sync`: the primary's disk, the pair it was half of, and the pair this lineage makes if the two do not fit. */
export interface DiskOffer {
  sizeBytes: number;
  /** '' if there is none. */
  pair: string;
  nextPair: string;
}

/** Within `ready`, whose payload is the dirty map: the pair the backup's disk was half of. */
export interface DiskAnswer {
  /** '' if there is none. */
  pair: string;
}

/** Undefined for a guest without a replicated disk. */
export function parseDiskOffer(value: unknown): DiskOffer | undefined {
  if (value === undefined || value === null) return undefined;
  const { sizeBytes, pair, nextPair } = value as Record<string, unknown>;
  if (typeof sizeBytes !== 'number' || !Number.isSafeInteger(sizeBytes)) throw bad('sync');
  if (sizeBytes < 1 || sizeBytes > MAX_DISK_BYTES || !isPair(nextPair)) throw bad('sync');
  if (pair !== '' && !isPair(pair)) throw bad('sync');
  return { sizeBytes, pair, nextPair };
}

/** Undefined for a guest without a replicated disk. */
export function parseDiskAnswer(value: unknown): DiskAnswer | undefined {
  if (value === undefined || value === null) return undefined;
  const { pair } = value as Record<string, unknown>;
  if (pair !== '' && !isPair(pair)) throw bad('ready');
  return { pair };
}

function isPair(value: unknown): value is string {
  return typeof value === 'string' && PAIR.test(value);
}

function bad(message: string): RomulusError {
  return new RomulusError('WIRE_FRAME', `malformed ${message}: "disk" is missing something or out of range`);
}
