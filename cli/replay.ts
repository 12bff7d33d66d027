/** `romulus replay`: a trace through the whole pipeline; after every epoch the standby image must be the trace's memory. */

import { engine, type Memory } from '../native/index.ts';
import type { RomulusError } from '../shared/errors.ts';
import { TraceReader } from '../shared/hypervisor/trace.ts';
import type { TraceHeader } from '../shared/hypervisor/trace-format.ts';
import { Samples } from '../shared/samples.ts';
import { PAGE_BYTES } from '../shared/vm.ts';
import { breakage, ReplayPair } from './replay-pair.ts';

export interface ReplayRequest {
  tracePath: string;
  /** All, unless fewer are asked for. */
  epochs?: number;
  threads: number;
  /** Compression is chosen as for a link of this rate; loopback itself is faster than any network. */
  linkBitsPerS: number;
  /** Share of the guest's memory kept as shadow copy; all of it if not given. */
  shadowShare?: number;
  onProgress(epoch: number, epochs: number): void;
}

interface Percentiles {
  p50: number;
  p99: number;
}

/** The contract's document; fields are only ever added. Times are sums over all epochs but the initial copy. */
export interface ReplayResult {
  trace: string;
  epochMs: number;
  epochs: number;
  guestBytes: number;
  dirtyPages: number;
  changedPages: number;
  /** Dirty pages and device state, whole. */
  rawBytes: number;
  wireBytes: number;
  scanNs: number;
  encodeNs: number;
  applyNs: number;
  /** From the paused guest to the applied epoch, without reading the trace and comparing images. */
  wallNs: number;
  threads: number;
  verified: boolean;
  /** Dirty pages over wallNs. */
  gbPerS: number;
  linkBitsPerS: number;
  /** Room of the primary's shadow copy. */
  shadowBytes: number;
  /** The compression chosen most recently. */
  compression: string;
  /** Bytes of deltas that were named as copies of what the backup has, and not sent, and in how many pages. */
  copiedBytes: number;
  copiedPages: number;
  /** What the guest would have stood still for, its hypervisor's own part apart. */
  pauseMs: { p50: number; p99: number };
  commitMs: { p50: number; p99: number };
  /** Of single epochs: the engine's encoding and applying, and from the paused guest to the applied epoch. */
  stepsMs: { encode: Percentiles; apply: Percentiles; applied: Percentiles };
  /** The rate of the median epoch, which a busy machine disturbs less than the sum. */
  gbPerSP50: number;
  /** The first page found different, when not verified. */
  difference?: { epoch: number; page: number };
  initial: { guestBytes: number; wireBytes: number; rounds: number; wallNs: number };
}

/** Fields of an epoch event that are added up. */
const summed = [
  'dirtyPages',
  'changedPages',
  'copiedPages',
  'copiedBytes',
  'rawBytes',
  'scanNs',
  'encodeNs',
] as const;

/** Rejects with TRACE_INVALID, or with what broke replication. */
export async function replayTrace(request: ReplayRequest): Promise<ReplayResult> {
  const header = await headerOf(request.tracePath);
  const run = new Replaying(request, header);
  return run.run();
}

async function headerOf(tracePath: string): Promise<TraceHeader> {
  const trace = await TraceReader.open(tracePath);
  trace.close();
  return trace.header;
}

class Replaying {
  readonly #request: ReplayRequest;
  readonly #header: TraceHeader;
  readonly #epochs: number;
  readonly #sums = Object.fromEntries(summed.map((field) => [field, 0])) as Record<
    (typeof summed)[number],
    number
  >;
  readonly #steps = { encode: new Samples(), apply: new Samples(), applied: new Samples() };
  readonly #gbPerS = new Samples();
  #epochPages = 0;
  #wallNs = 0;
  #initial = { wireBytes: 0, rounds: 0, wallNs: 0 };
  #initialApplyNs = 0;
  #difference: { epoch: number; page: number } | undefined;
  #image: Memory | undefined;
  #pair: ReplayPair | undefined;
  #done: () => void = () => {};
  #broken: (error: RomulusError) => void = () => {};
  #letGo: () => void = () => {};
  readonly #released = new Promise<void>((resolve) => {
    this.#letGo = resolve;
  });

  constructor(request: ReplayRequest, header: TraceHeader) {
    this.#request = request;
    this.#header = header;
    this.#epochs = Math.min(request.epochs ?? header.epochs, header.epochs);
  }

  async run(): Promise<ReplayResult> {
    const finished = new Promise<void>((resolve, reject) => {
      this.#done = resolve;
      this.#broken = reject;
    });
    const pair = await ReplayPair.open({
      tracePath: this.#request.tracePath,
      ramBytes: this.#header.ramBytes,
      threads: this.#request.threads,
      linkBitsPerS: this.#request.linkBitsPerS,
      ...(this.#request.shadowShare !== undefined && { shadowShare: this.#request.shadowShare }),
      beforeEpoch: (next) => this.#beforeEpoch(next),
      onEvent: (kind, fields) => this.#onEvent(kind, fields),
    });
    this.#pair = pair;
    try {
      await Promise.all([pair.start(), finished]);
      return this.#result(pair);
    } finally {
      this.#letGo();
      await pair.close();
      this.#image?.close();
    }
  }

  /** The guest holds still: its memory is what the epoch before `next` left, and so must be the image, once applied. */
  async #beforeEpoch(next: number): Promise<void> {
    const pair = this.#pair;
    const epoch = next - 1;
    if (pair === undefined || epoch > this.#epochs) return;
    if (epoch === 0) this.#initialApplyNs = pair.standby.image.applyNs;
    else {
      const applyNs = pair.standby.image.applyNs;
      await pair.standby.image.whenApplied(epoch);
      const appliedMs = performance.now() - pair.source.pausedMs;
      this.#wallNs += appliedMs * 1e6;
      this.#steps.applied.add(appliedMs);
      this.#steps.apply.add((pair.standby.image.applyNs - applyNs) / 1e6);
      this.#gbPerS.add((this.#epochPages * PAGE_BYTES) / (appliedMs * 1e6));
      await this.#compare(pair, epoch);
      this.#request.onProgress(epoch, this.#epochs);
    }
    if (epoch < this.#epochs && this.#difference === undefined) return;
    this.#done();
    await this.#released;
  }

  async #compare(pair: ReplayPair, epoch: number): Promise<void> {
    const { ramBytes } = this.#header;
    this.#image ??= engine().openMemory(pair.standby.image.ramPath, { sizeBytes: ramBytes });
    const page = await engine().firstDifference(pair.source.memory, this.#image, this.#request.threads);
    if (page >= 0) this.#difference = { epoch, page };
  }

  #onEvent(kind: string, fields: Record<string, unknown>): void {
    if (kind === 'synced') {
      const attachedMs = this.#pair?.source.attachedMs ?? 0;
      this.#initial = {
        wireBytes: Number(fields.sentBytes),
        rounds: Number(fields.rounds),
        wallNs: Math.round((performance.now() - attachedMs) * 1e6),
      };
    } else if (kind === 'epoch') {
      if (Number(fields.epoch) > this.#epochs) return;
      for (const field of summed) this.#sums[field] += Number(fields[field]);
      this.#steps.encode.add(Number(fields.encodeNs) / 1e6);
      this.#epochPages = Number(fields.dirtyPages);
    } else {
      const error = breakage(kind, fields);
      if (error) this.#broken(error);
    }
  }

  #result(pair: ReplayPair): ReplayResult {
    const { name, epochMs, ramBytes } = this.#header;
    const status = pair.status();
    const { p50, p99 } = pair.source.captureMs.summary();
    return {
      trace: name,
      epochMs,
      epochs: this.#difference?.epoch ?? this.#epochs,
      guestBytes: ramBytes,
      ...this.#sums,
      wireBytes: status.wireBytes,
      applyNs: Math.round(pair.standby.image.applyNs - this.#initialApplyNs),
      wallNs: Math.round(this.#wallNs),
      threads: this.#request.threads,
      verified: this.#difference === undefined,
      gbPerS: hundredths((this.#sums.dirtyPages * PAGE_BYTES) / Math.max(this.#wallNs, 1)),
      gbPerSP50: hundredths(this.#gbPerS.quantile(0.5)),
      stepsMs: {
        encode: percentiles(this.#steps.encode),
        apply: percentiles(this.#steps.apply),
        applied: percentiles(this.#steps.applied),
      },
      pauseMs: { p50, p99 },
      linkBitsPerS: this.#request.linkBitsPerS,
      shadowBytes: status.memoryBytes?.shadow ?? 0,
      compression: status.compression?.tier ?? 'none',
      commitMs: status.commitMs ?? { p50: 0, p99: 0 },
      ...(this.#difference && { difference: this.#difference }),
      initial: { guestBytes: ramBytes, ...this.#initial },
    };
  }
}

function percentiles(samples: Samples): Percentiles {
  const { p50, p99 } = samples.summary();
  return { p50: hundredths(p50), p99: hundredths(p99) };
}

function hundredths(value: number): number {
  return Math.round(value * 100) / 100;
}
