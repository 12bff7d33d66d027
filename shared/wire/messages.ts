/** The messages of PROTOCOL.md: their kinds, their types, and the checks a received head must pass. */

import type { ProtectionChoice } from '../control/policy.ts';
import { RomulusError } from '../errors.ts';
import {
  MAX_ADDRESSES,
  MAX_CHUNKS_PER_EPOCH,
  MAX_NAME_LENGTH,
  MAX_NETWORKS,
  MAX_RAM_BYTES,
  MAX_STATE_BYTES,
} from '../limits.ts';
import { isAddress, isInterfaceName, isMac } from '../net/names.ts';
import { type Epoch, type Geometry, type NetworkSpec, PAGE_BYTES, type VmSpec } from '../vm.ts';
import { type DiskOffer, parseDiskOffer } from './disk-messages.ts';

export const Kind = {
  hello: 1,
  welcome: 2,
  sync: 3,
  chunk: 4,
  commit: 5,
  ack: 6,
  error: 7,
  bye: 8,
  beat: 9,
  ready: 10,
  answer: 11,
  renew: 12,
  handOver: 13,
  copied: 14,
} as const;

export const Region = { ram: 0, state: 1, disk: 2 } as const;
export type RegionId = (typeof Region)[keyof typeof Region];

export const Codec = { none: 0, snappy: 1, zstd: 2 } as const;
export type CodecId = (typeof Codec)[keyof typeof Codec];

export interface Hello {
  protocol: [min: number, max: number];
  node: string;
  vm: string;
  term: number;
  lineage: string;
  acked: Epoch;
  geometry: Geometry;
  spec: VmSpec;
  protection: Protection;
}

/** What the primary's config says of this VM, which both sides must go by. */
export interface Protection extends ProtectionChoice {
  /** The primary asks a witness; a backup that cannot must not take the VM. */
  witness: boolean;
  /** The primary's host is reset by its watchdog within so long of not being fed: proof enough that it is dead. */
  watchdogMs?: number;
}

export interface Welcome {
  protocol: number;
  node: string;
  term: number;
  lineage: string | null;
  committed: Epoch;
  /** The backup reads payloads of copies; one of an older release does not say so. */
  copies?: boolean;
}

export interface Sync {
  lineage: string;
  /** Of a guest with a replicated disk. */
  disk?: DiskOffer;
}

/** Epoch 0 is pre-copy: applied on arrival, never promotable. */
export interface Chunk {
  epoch: Epoch;
  region: RegionId;
  codec: CodecId;
  /** Payload bytes once decompressed. */
  rawBytes: number;
}

export interface Commit {
  term: number;
  epoch: Epoch;
  previous: Epoch;
  /** The primary's clock just before this was sent; comes back in the ack. */
  sentMs: number;
  chunks: number;
  stateBytes: number;
  /** Digests of guest memory and device state at this epoch, 16 hexadecimal digits each. */
  digest: string;
  stateDigest: string;
}

export interface Ack {
  term: number;
  epoch: Epoch;
  /** The backup will not resume the guest within this time of sending the ack (safety rule 8). */
  promiseMs: number;
  /** That of the commit, or renew, which this answers. */
  sentMs: number;
}

/** P -> B as `beat`, and back as `answer` by a backup that stands by. Without them a beat keeps the connection alive only. */
export interface Beat {
  term: number;
  /** The primary's clock just before the beat was sent. */
  sentMs: number;
}

/** Asks for a new promise on what is committed: the one before ran out. */
export interface Renew {
  term: number;
  epoch: Epoch;
  sentMs: number;
}

/** The primary let go, its gate is shut: the backup owns the VM in `term`, from `epoch` on. */
export interface HandOver {
  term: number;
  epoch: Epoch;
}

export interface WireError {
  code: string;
  message: string;
  hint?: string;
  term?: number;
}

type Head = Record<string, unknown>;

function bad(message: string, field: string): never {
  throw new RomulusError('WIRE_FRAME', `malformed ${message}: "${field}" is missing or out of range`);
}

function integer(head: Head, message: string, field: string, max: number, min = 0): number {
  const value = head[field];
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max)
    bad(message, field);
  return value;
}

/** Longest silence a hello may ask for. */
const MAX_SILENCE_MS = 600_000;
/** The longest a kernel's driver takes is some 18 hours; nobody waits for more than this. */
const MAX_WATCHDOG_MS = 3_600_000;

/** A reading of the primary's clock since its boot, in ms, not whole. */
function clock(head: Head, message: string, field: string): number {
  const value = head[field];
  if (typeof value !== 'number' || !(value >= 0 && value <= Number.MAX_SAFE_INTEGER)) bad(message, field);
  return value;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/** Names become file names, so nothing but letters, digits, dot, dash and underscore. */
export function isName(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_NAME_LENGTH && NAME.test(value);
}

function name(head: Head, message: string, field: string): string {
  const value = head[field];
  if (!isName(value)) bad(message, field);
  return value;
}

function digest(head: Head, message: string, field: string): string {
  const value = head[field];
  if (typeof value !== 'string' || !/^[0-9a-f]{16}$/.test(value)) bad(message, field);
  return value;
}

function isObject(value: unknown): value is Head {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function parseHello(head: Head): Hello {
  const range = head.protocol;
  if (!Array.isArray(range) || range.length !== 2 || !range.every(Number.isSafeInteger))
    bad('hello', 'protocol');
  return {
    protocol: [range[0] as number, range[1] as number],
    node: name(head, 'hello', 'node'),
    vm: name(head, 'hello', 'vm'),
    term: integer(head, 'hello', 'term', Number.MAX_SAFE_INTEGER),
    lineage: name(head, 'hello', 'lineage'),
    acked: integer(head, 'hello', 'acked', Number.MAX_SAFE_INTEGER),
    geometry: parseGeometry(head.geometry),
    spec: parseSpec(head.spec),
    protection: parseProtection(head.protection),
  };
}

function parseProtection(value: unknown): Protection {
  if (!isObject(value)) bad('hello', 'protection');
  const { failover, onBackupLoss, witness } = value;
  if (failover !== 'auto' && failover !== 'manual') bad('hello', 'failover');
  if (onBackupLoss !== 'solo' && onBackupLoss !== 'freeze' && onBackupLoss !== 'hold')
    bad('hello', 'onBackupLoss');
  if (typeof witness !== 'boolean') bad('hello', 'witness');
  return {
    failover,
    onBackupLoss,
    witness,
    silenceMs: integer(value, 'hello', 'silenceMs', MAX_SILENCE_MS, 1),
    ...(value.watchdogMs !== undefined && {
      watchdogMs: integer(value, 'hello', 'watchdogMs', MAX_WATCHDOG_MS, 1),
    }),
  };
}

export function parseGeometry(value: unknown): Geometry {
  if (!isObject(value)) bad('hello', 'geometry');
  const ramBytes = integer(value, 'hello', 'ramBytes', MAX_RAM_BYTES, PAGE_BYTES);
  if (ramBytes % PAGE_BYTES !== 0) bad('hello', 'ramBytes');
  if (typeof value.arch !== 'string' || typeof value.hypervisor !== 'string') bad('hello', 'geometry');
  const { deviceModel } = value;
  if (deviceModel !== undefined && typeof deviceModel !== 'string') bad('hello', 'deviceModel');
  return {
    arch: value.arch,
    hypervisor: value.hypervisor,
    ramBytes,
    cpus: integer(value, 'hello', 'cpus', 4096, 1),
    ...(value.cpuPolicy !== undefined && { cpuPolicy: parseCpuPolicy(value.cpuPolicy) }),
    ...(deviceModel !== undefined && { deviceModel }),
  };
}

function parseCpuPolicy(value: unknown): { leaves: string; msrs: string } {
  if (!isObject(value)) bad('hello', 'cpuPolicy');
  const { leaves, msrs } = value;
  if (typeof leaves !== 'string' || typeof msrs !== 'string') bad('hello', 'cpuPolicy');
  return { leaves, msrs };
}

const SPEC_STRINGS = ['kernel', 'initrd', 'append', 'disk', 'machine', 'serialLog', 'attachQmp'] as const;

export function parseSpec(value: unknown): VmSpec {
  if (!isObject(value)) bad('hello', 'spec');
  const { hypervisor, extraArgs } = value;
  if (hypervisor !== 'qemu' && hypervisor !== 'xen' && hypervisor !== 'replay') bad('hello', 'hypervisor');
  const spec: VmSpec = {
    name: name(value, 'hello', 'name'),
    hypervisor,
    memoryBytes: integer(value, 'hello', 'memoryBytes', MAX_RAM_BYTES, PAGE_BYTES),
    cpus: integer(value, 'hello', 'cpus', 4096, 1),
  };
  for (const field of SPEC_STRINGS) {
    const text = value[field];
    if (text === undefined || text === null) continue;
    if (typeof text !== 'string') bad('hello', field);
    spec[field] = text;
  }
  if (extraArgs !== undefined && extraArgs !== null) {
    if (!Array.isArray(extraArgs) || !extraArgs.every((arg) => typeof arg === 'string'))
      bad('hello', 'extraArgs');
    spec.extraArgs = extraArgs as string[];
  }
  const networks = parseNetworks(value.networks);
  if (networks !== undefined) spec.networks = networks;
  return spec;
}

function parseNetworks(value: unknown): NetworkSpec[] | undefined {
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value) || value.length > MAX_NETWORKS) bad('hello', 'networks');
  return value.map((entry) => {
    if (!isObject(entry)) bad('hello', 'networks');
    const { tap, bridge, mac, addresses } = entry;
    if (!isInterfaceName(tap) || !isMac(mac)) bad('hello', 'networks');
    if (bridge !== undefined && bridge !== null && !isInterfaceName(bridge)) bad('hello', 'bridge');
    const network: NetworkSpec = { tap, mac, ...(bridge && { bridge }) };
    if (addresses === undefined || addresses === null) return network;
    if (!Array.isArray(addresses) || addresses.length > MAX_ADDRESSES || !addresses.every(isAddress))
      bad('hello', 'addresses');
    return { ...network, addresses };
  });
}

export function parseWelcome(head: Head): Welcome {
  return {
    protocol: integer(head, 'welcome', 'protocol', 255, 1),
    node: name(head, 'welcome', 'node'),
    term: integer(head, 'welcome', 'term', Number.MAX_SAFE_INTEGER),
    lineage: head.lineage === null ? null : name(head, 'welcome', 'lineage'),
    committed: integer(head, 'welcome', 'committed', Number.MAX_SAFE_INTEGER),
    ...(head.copies === true && { copies: true }),
  };
}

export function parseSync(head: Head): Sync {
  const disk = parseDiskOffer(head.disk);
  return { lineage: name(head, 'sync', 'lineage'), ...(disk && { disk }) };
}

export function parseChunk(head: Head, maxRawBytes: number): Chunk {
  return {
    epoch: integer(head, 'chunk', 'epoch', Number.MAX_SAFE_INTEGER),
    region: integer(head, 'chunk', 'region', Region.disk) as RegionId,
    codec: integer(head, 'chunk', 'codec', 2) as CodecId,
    rawBytes: integer(head, 'chunk', 'rawBytes', maxRawBytes),
  };
}

export function parseCommit(head: Head): Commit {
  return {
    term: integer(head, 'commit', 'term', Number.MAX_SAFE_INTEGER),
    epoch: integer(head, 'commit', 'epoch', Number.MAX_SAFE_INTEGER, 1),
    previous: integer(head, 'commit', 'previous', Number.MAX_SAFE_INTEGER),
    sentMs: clock(head, 'commit', 'sentMs'),
    chunks: integer(head, 'commit', 'chunks', MAX_CHUNKS_PER_EPOCH),
    stateBytes: integer(head, 'commit', 'stateBytes', MAX_STATE_BYTES),
    digest: digest(head, 'commit', 'digest'),
    stateDigest: digest(head, 'commit', 'stateDigest'),
  };
}

export function parseAck(head: Head): Ack {
  return {
    term: integer(head, 'ack', 'term', Number.MAX_SAFE_INTEGER),
    epoch: integer(head, 'ack', 'epoch', Number.MAX_SAFE_INTEGER, 1),
    promiseMs: integer(head, 'ack', 'promiseMs', 600_000),
    sentMs: clock(head, 'ack', 'sentMs'),
  };
}

/** `name`: 'beat' or 'answer'. */
export function parseBeat(head: Head, name: string): Beat {
  return {
    term: integer(head, name, 'term', Number.MAX_SAFE_INTEGER),
    sentMs: clock(head, name, 'sentMs'),
  };
}

export function parseRenew(head: Head): Renew {
  return {
    term: integer(head, 'renew', 'term', Number.MAX_SAFE_INTEGER),
    epoch: integer(head, 'renew', 'epoch', Number.MAX_SAFE_INTEGER, 1),
    sentMs: clock(head, 'renew', 'sentMs'),
  };
}

export function parseHandOver(head: Head): HandOver {
  return {
    term: integer(head, 'handOver', 'term', Number.MAX_SAFE_INTEGER, 1),
    epoch: integer(head, 'handOver', 'epoch', Number.MAX_SAFE_INTEGER),
  };
}

export function parseError(head: Head): WireError {
  const error: WireError = { code: String(head.code), message: String(head.message) };
  if (typeof head.hint === 'string') error.hint = head.hint;
  if (typeof head.term === 'number') error.term = head.term;
  return error;
}

/** A digest as it stands in a commit. */
export function digestHex(value: bigint): string {
  return BigInt.asUintN(64, value).toString(16).padStart(16, '0');
}
