/** Turns the paused guest into one encoded epoch: dirty pages and device state as deltas against what was sent before. */

import {
  CHUNK_HEADROOM_BYTES,
  type DirtyBitmap,
  type EncodedChunk,
  type EncodeResult,
  type Encoder,
  engine,
  type Grain,
  type Memory,
} from '../../native/index.ts';
import { crashPoint } from '../../shared/crash-point.ts';
import { RomulusError } from '../../shared/errors.ts';
import { MAX_STATE_BYTES } from '../../shared/limits.ts';
import { type Epoch, PAGE_BYTES } from '../../shared/vm.ts';
import type { CopyCounts } from '../../shared/wire/copies-choice.ts';
import type { FramedPayload } from '../../shared/wire/frame.ts';
import { digestHex, Region, type RegionId } from '../../shared/wire/messages.ts';
import type { Source } from '../hypervisor/source.ts';
import type { OutputGate } from '../output/gate.ts';

const WORD_BYTES = 8;
/** Of the shadow copy, noted between two epochs: some milliseconds, while the guest runs. */
const NOTED_PAGES = 8192;

/** One chunk still lying in the engine's slab. */
export interface CapturedChunk extends FramedPayload {
  region: RegionId;
  slab: number;
}

export interface CaptureTimes {
  stopMs: number;
  /** Dirty pages and their deltas; the device state is saved beside those. */
  captureMs: number;
  /** What was left of saving the device state, and going on. */
  resumeMs: number;
  pauseMs: number;
}

export interface Checkpoint {
  epoch: Epoch;
  chunks: CapturedChunk[];
  /** Chunks that had to leave while the guest was paused, for want of slabs; they cannot be sent twice. */
  spilledChunks: number;
  stateBytes: number;
  digest: string;
  stateDigest: string;
  dirtyPages: number;
  changedPages: number;
  /** What was sent as copies of what the backup has; nothing unless it was asked for. */
  copies: CopyCounts;
  /** Bytes of the dirty pages and the device state: what page-granular replication would send. */
  rawBytes: number;
  /** What the engine alone took: listing the dirty pages, comparing and encoding them. */
  scanNs: number;
  encodeNs: number;
  times: CaptureTimes;
}

/** Sends chunks at once and resolves when their slabs are free again. */
export type Spill = (chunks: CapturedChunk[]) => Promise<void>;

interface PausedEncode {
  chunks: CapturedChunk[];
  spilledChunks: number;
  changedPages: number;
  copies: CopyCounts;
  scanNs: number;
  encodeNs: number;
}

/** How an epoch's changes are written. */
export interface Encoding {
  grain?: Grain;
  /** The backup reads copies, and they are worth looking for. */
  copies?: boolean;
}

export interface CaptureOptions {
  threads: number;
  /** Bound of encoded and unsent guest memory, in slabs of 1 MiB. */
  maxSlabs: number;
  /** Share of guest memory kept as shadow copy, 0 to 1; all of it if not given. */
  shadowShare?: number;
}

/**
 * Owns shadow copy, encoders and dirty bitmap of one lineage. A dirty bit is cleared only by encoding its page, so that
 * an epoch given up before encoding is part of the next one.
 */
export class Capture {
  readonly #source: Source;
  readonly #shadow: Memory | undefined;
  readonly #maxSlabs: number;
  #noted = false;
  readonly #ram: Encoder;
  readonly #stateNow: Memory;
  readonly #stateShadow: Memory;
  readonly #state: Encoder;
  readonly #stateDirty: DirtyBitmap;
  readonly dirty: DirtyBitmap;
  /** False once something encoded may have been lost: the shadow copy is then ahead of the backup. */
  intact = true;

  constructor(source: Source, { threads, maxSlabs, shadowShare = 1 }: CaptureOptions) {
    const native = engine();
    const { memory } = source;
    const shadowPages = Math.floor((memory.sizeBytes / PAGE_BYTES) * shadowShare);
    this.#source = source;
    const shadow = shadowPages > 0 ? native.anonymousMemory(shadowPages * PAGE_BYTES) : undefined;
    this.#shadow = shadow;
    this.#maxSlabs = maxSlabs;
    this.#ram = native.createEncoder({ memory, threads, maxSlabs, ...(shadow && { shadow }) });
    this.#stateNow = native.anonymousMemory(MAX_STATE_BYTES);
    this.#stateShadow = native.anonymousMemory(MAX_STATE_BYTES);
    this.#state = native.createEncoder({ memory: this.#stateNow, shadow: this.#stateShadow, threads: 1 });
    this.#stateDirty = native.createBitmap(MAX_STATE_BYTES / PAGE_BYTES);
    this.dirty = native.createBitmap(source.memory.sizeBytes / PAGE_BYTES);
  }

  /** Memory the shadow copy may take; it takes as much only once so much of the guest was dirty. */
  get shadowBytes(): number {
    return this.#shadow?.sizeBytes ?? 0;
  }

  /** Memory of the index that copies are found by. */
  get indexBytes(): number {
    return this.#ram.indexBytes;
  }

  /**
   * Where everything stands that the backup has is noted; until then copies of what was not dirtied lately are not found. Called
   * between epochs it does some of that.
   */
  async note(): Promise<boolean> {
    if (!this.#noted) this.#noted = !(await this.#ram.noteShadow(NOTED_PAGES));
    return this.#noted;
  }

  /** Slabs enough are free that chunks may keep theirs until they are acknowledged, however little of it they fill. */
  get plentiful(): boolean {
    return this.#ram.freeSlabs > this.#maxSlabs / 2;
  }

  /** Takes the pages written since the last call over into `dirty`; the guest may run. */
  takeDirty(): Promise<number> {
    return this.#source.takeDirty(this.dirty);
  }

  /**
   * Takes pages that the guest never touched out of `dirty`; returns how many are left. Right only while the backup's image
   * is empty, and after the first takeDirty(): a page touched from then on is dirty anew.
   */
  skipUntouched(): number {
    return engine().skipUntouched(this.#source.memory, this.dirty);
  }

  /** Encodes what is dirty now, while the guest runs, handing chunks to `spill` as slabs fill (pre-copy). */
  async encodeRunning(
    spill: Spill,
    grain: Grain = 'bytes',
  ): Promise<{ changedPages: number; payloadBytes: number }> {
    let changedPages = 0;
    let payloadBytes = 0;
    for (let complete = false; !complete; ) {
      const result = await this.#ram.encode(this.dirty, grain);
      complete = result.complete;
      changedPages += result.dirtyPages - result.unchangedPages;
      payloadBytes += result.payloadBytes;
      await spill(ramChunks(result));
    }
    return { changedPages, payloadBytes };
  }

  /** Pauses the guest, captures epoch `epoch`, resumes it. The guest runs again whatever happens. */
  async checkpoint(
    epoch: Epoch,
    spill: Spill,
    gates: readonly Pick<OutputGate, 'seal'>[] = [],
    encoding: Encoding = {},
  ): Promise<Checkpoint> {
    const times: CaptureTimes = { stopMs: 0, captureMs: 0, resumeMs: 0, pauseMs: 0 };
    const began = performance.now();
    let mark = began;
    const lap = (): number => {
      const now = performance.now();
      const spent = now - mark;
      mark = now;
      return spent;
    };
    await this.#source.pause();
    let saving: Promise<Buffer> | undefined;
    let dirtyPages: number;
    let memory: PausedEncode;
    try {
      times.stopMs = lap();
      crashPoint('primary.paused');
      // The guest stands still and its devices are drained: what it has sent by now follows from this checkpoint.
      for (const gate of gates) gate.seal(epoch);
      // Before the hypervisor is set to work again: taking the dirty pages shoots down the TLBs of every core its
      // process runs on, which beside a QEMU that saves devices takes six times as long.
      dirtyPages = await this.takeDirty();
      crashPoint('primary.dirty-taken');
      this.intact = false;
      // Hypervisors' own migration has the same order (QEMU ends memory before devices, Xen likewise): saving state
      // writes to no page that counts.
      saving = this.#source.deviceState();
      saving.catch(() => {}); // awaited once the guest runs
      memory = await this.#encodePaused(spill, encoding);
      times.captureMs = lap();
    } finally {
      crashPoint('primary.captured');
      await this.#source.resume();
      times.resumeMs = lap();
      times.pauseMs = performance.now() - began;
    }
    const state = await saving;
    const device = await this.#encodeState(state);
    this.intact = true;
    return {
      epoch,
      chunks: [...memory.chunks, ...device],
      spilledChunks: memory.spilledChunks,
      stateBytes: state.length,
      digest: digestHex(this.#ram.digest),
      stateDigest: digestHex(this.#state.digest),
      dirtyPages,
      changedPages: memory.changedPages,
      copies: memory.copies,
      rawBytes: dirtyPages * PAGE_BYTES + state.length,
      scanNs: memory.scanNs,
      encodeNs: memory.encodeNs,
      times,
    };
  }

  async #encodePaused(spill: Spill, { grain = 'bytes', copies = false }: Encoding): Promise<PausedEncode> {
    const counts: CopyCounts = { pages: 0, runs: 0, savedBytes: 0, ns: 0 };
    let spilledChunks = 0;
    let changedPages = 0;
    let scanNs = 0;
    let encodeNs = 0;
    for (;;) {
      const result = await this.#ram.encode(this.dirty, grain, copies);
      changedPages += result.dirtyPages - result.unchangedPages;
      counts.pages += result.copiedPages;
      counts.runs += result.copyRuns;
      counts.savedBytes += result.copiedWords * WORD_BYTES;
      counts.ns += result.copiesNs;
      scanNs += result.scanNs;
      encodeNs += result.encodeNs;
      const chunks = ramChunks(result);
      if (result.complete) return { chunks, spilledChunks, changedPages, copies: counts, scanNs, encodeNs };
      spilledChunks += chunks.length;
      await spill(chunks);
    }
  }

  async #encodeState(state: Buffer): Promise<CapturedChunk[]> {
    if (state.length > MAX_STATE_BYTES) {
      throw new RomulusError(
        'HV_UNSUPPORTED',
        `device state of ${state.length} bytes is over the limit of ${MAX_STATE_BYTES}`,
        {
          hint: 'remove devices with large state (emulated graphics, say) from the guest',
        },
      );
    }
    this.#stateNow.write(0, state);
    const pages = Math.ceil(state.length / PAGE_BYTES);
    // What lies behind a shorter state than before stays as it was: stateBytes says where the state ends.
    this.#stateDirty.set(0, pages);
    const result = await this.#state.encode(this.#stateDirty);
    return result.chunks.map((chunk) => captured(Region.state, chunk));
  }

  /** Gives a chunk's slab back to the engine. */
  release(chunk: CapturedChunk): void {
    (chunk.region === Region.ram ? this.#ram : this.#state).release(chunk.slab);
  }

  close(): void {
    for (const part of [this.#ram, this.#state, this.#shadow, this.#stateNow, this.#stateShadow])
      part?.close();
  }
}

function ramChunks(result: EncodeResult): CapturedChunk[] {
  return result.chunks.map((chunk) => captured(Region.ram, chunk));
}

function captured(region: RegionId, chunk: EncodedChunk): CapturedChunk {
  const { buffer, payloadBytes, crc32c, slab } = chunk;
  return { region, slab, buffer, offset: CHUNK_HEADROOM_BYTES, bytes: payloadBytes, crc32c };
}
