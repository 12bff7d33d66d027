/** The standby image: memory and device state of one lineage, always recoverable to exactly a committed epoch. */

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { engine, type Memory } from '../../native/index.ts';
import { crashPoint } from '../../shared/crash-point.ts';
import { ioError } from '../../shared/durable-file.ts';
import { RomulusError } from '../../shared/errors.ts';
import { MAX_PAYLOAD_BYTES, MAX_STATE_BYTES } from '../../shared/limits.ts';
import type { Epoch } from '../../shared/vm.ts';
import { decompressPayload } from '../../shared/wire/compression.ts';
import {
  type Commit,
  digestHex,
  Kind,
  parseChunk,
  parseCommit,
  Region,
  type RegionId,
} from '../../shared/wire/messages.ts';
import { releaseMessage } from '../../shared/wire/slabs.ts';
import type { StandbyDisk } from '../disk.ts';
import type { EpochListener, FollowedImage, HeldImage } from './followed-image.ts';
import { type Durability, Journal } from './journal.ts';
import { type ImageRecord, RecordFile } from './record.ts';

/** An epoch on its way into the image: decompressed payloads, and what they must add up to. */
export interface StagedEpoch {
  ram: Buffer[];
  state: Buffer[];
  disk: Buffer[];
  diskBytes: number;
  /** The epoch changed more of the disk than memory should hold: these payloads lie in the journal alone. */
  diskInJournal: boolean;
}

/** Disk payloads of one epoch kept in memory until it is applied; the rest is read from the journal then. */
const MAX_STAGED_DISK_BYTES = 32 * 1024 * 1024;

export function emptyEpoch(): StagedEpoch {
  return { ram: [], state: [], disk: [], diskBytes: 0, diskInJournal: false };
}

/** Its payloads are where they belong. Those of an epoch that fails are left to the collector. */
function release(staged: StagedEpoch): void {
  for (const payloads of [staged.ram, staged.state, staged.disk])
    for (const each of payloads) releaseMessage(each);
}

export interface ImageOptions {
  dir: string;
  threads: number;
  durability: Durability;
}

const ZERO_DIGEST = digestHex(0n);

export class StandbyImage implements FollowedImage {
  readonly dir: string;
  readonly journal: Journal;
  readonly #threads: number;
  readonly #record: RecordFile;
  /** The guest's disk, where it has a replicated one: at the same epoch as memory and device state. */
  disk: StandbyDisk | undefined;
  #ram: Memory | undefined;
  #state: Memory | undefined;
  /** Digests of what is really in the image, kept up from what each epoch changed. */
  #digest = 0n;
  #stateDigest = 0n;
  #committed: Epoch = 0;
  /** Time the engine spent on applying epochs and pre-copy, in nanoseconds. */
  applyNs = 0;
  #appliedWaiters: { epoch: Epoch; resolve: () => void }[] = [];
  /** Tail of the queue of everything that reads or writes the whole image: never two at once. */
  #busy: Promise<unknown> = Promise.resolve();
  /** False once the image was found to differ from what the primary had; only a new lineage mends that. */
  #sound = true;
  readonly #followers = new Set<EpochListener>();

  constructor({ dir, threads, durability }: ImageOptions) {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    this.dir = dir;
    this.#threads = threads;
    this.journal = new Journal(dir, durability);
    this.#record = new RecordFile(join(dir, 'image.record'));
  }

  get record(): ImageRecord | undefined {
    return this.#record.current;
  }

  get ramPath(): string {
    return join(this.dir, 'image.ram');
  }

  get statePath(): string {
    return join(this.dir, 'device.state');
  }

  get sizeBytes(): number {
    return this.#ram?.sizeBytes ?? 0;
  }

  /** Highest epoch that a restart would come back to. */
  get committed(): Epoch {
    return this.#committed;
  }

  get lineage(): string | null {
    return this.#ram === undefined || !this.#sound ? null : (this.record?.lineage ?? null);
  }

  get promotable(): boolean {
    return this.#ram !== undefined && this.#sound && this.#committed > 0;
  }

  /** Opens what a previous run left and applies what it committed but did not apply. Throws IMAGE_CORRUPT if that is not whole. */
  async recover(): Promise<void> {
    const record = this.record;
    if (record === undefined) return;
    try {
      this.#map(record.ramBytes, false);
    } catch (cause) {
      // The record outlived the image (another filesystem, or somebody removed it): there is nothing to recover.
      if ((cause as RomulusError).code !== 'IMAGE_IO') throw cause;
      this.disk?.forget();
      return;
    }
    this.#committed = record.applied;
    for (const epoch of this.journal.recover()) {
      if (epoch <= record.applied) this.journal.forget(epoch);
      else await this.#reapply(epoch);
    }
    await this.#rescan();
    const now = this.record;
    if (now === undefined || now.syncing) return;
    if (digestHex(this.#digest) !== now.digest || digestHex(this.#stateDigest) !== now.stateDigest) {
      throw this.#corrupt(now.applied);
    }
  }

  async #reapply(epoch: Epoch): Promise<void> {
    const staged = emptyEpoch();
    let commit: Commit | undefined;
    for (const frame of this.journal.frames(epoch)) {
      if (frame.kind === Kind.commit) commit = parseCommit(frame.head);
      else await this.stage(staged, parseChunk(frame.head, MAX_PAYLOAD_BYTES), frame.payload);
    }
    if (commit === undefined || commit.epoch !== this.#committed + 1) throw this.#corrupt(epoch);
    this.#committed = epoch;
    // The image may hold half of this epoch already, so only a fresh scan, not this sum, tells its digest.
    await this.#write(staged, epoch);
    this.#recordApplied(commit);
  }

  /** Makes a new, empty image for a new lineage; nothing of the old one is promotable from here. */
  create(lineage: string, ramBytes: number): void {
    this.#unmap();
    this.#followers.clear();
    this.#committed = 0;
    this.#sound = true;
    this.journal.clear();
    for (const path of [this.ramPath, this.#stateImagePath, this.statePath]) rmSync(path, { force: true });
    this.#record.write({
      lineage,
      term: 0,
      applied: 0,
      syncing: true,
      ramBytes,
      stateBytes: 0,
      digest: ZERO_DIGEST,
      stateDigest: ZERO_DIGEST,
    });
    this.#map(ramBytes, true);
    this.#digest = 0n;
    this.#stateDigest = 0n;
  }

  /**
   * Decompresses and checks one chunk; throws before anything is written if it would not decode within the image. The
   * memory of the message is then the image's, which gives it back, but not before `written`: it is in the journal.
   */
  async stage(
    into: StagedEpoch,
    chunk: ReturnType<typeof parseChunk>,
    payload: Buffer,
    written?: Promise<void>,
  ): Promise<void> {
    const decoded = await decompressPayload(chunk.codec, chunk.rawBytes, payload);
    await this.#expect(into, chunk.region, decoded);
    await written;
    if (decoded !== payload) releaseMessage(payload);
  }

  async #expect(into: StagedEpoch, region: RegionId, decoded: Buffer): Promise<void> {
    if (region === Region.disk) {
      if (this.disk === undefined)
        throw new RomulusError('WIRE_FRAME', 'a chunk of a disk this guest does not have');
      await this.disk.expect(decoded);
      into.diskBytes += decoded.length;
      into.diskInJournal = into.diskBytes > MAX_STAGED_DISK_BYTES;
      if (into.diskInJournal) into.disk = [];
      else into.disk.push(decoded);
      return;
    }
    const memory = region === Region.ram ? this.#ram : this.#state;
    if (memory === undefined) throw new RomulusError('INTERNAL', 'no image is open');
    try {
      // Space is taken before the epoch is acknowledged: what was acknowledged must not fail for want of it.
      engine().reservePayload(memory, decoded);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOSPC')
        throw ioError(`the standby image in ${this.dir} cannot grow`, cause);
      throw new RomulusError('WIRE_FRAME', 'malformed chunk: its payload does not decode within the image', {
        cause,
      });
    }
    (region === Region.ram ? into.ram : into.state).push(decoded);
  }

  /** Chunks that are sound one by one may still be no epoch; throws WIRE_FRAME, before anything is written. */
  checkWhole(staged: StagedEpoch): void {
    try {
      for (const payloads of [staged.ram, staged.state]) engine().checkEpoch(payloads);
    } catch (cause) {
      throw new RomulusError('WIRE_FRAME', 'malformed epoch: its chunks do not go together', { cause });
    }
  }

  /** Pre-copy: applied at once, while the image is not promotable. */
  applyPrecopy(staged: StagedEpoch): Promise<void> {
    return this.#exclusive(async () => {
      await this.#write(staged, 0);
      release(staged);
    });
  }

  /** The epoch's commit record is written; from here a restart comes back to it. */
  commit(epoch: Epoch): void {
    this.disk?.committing();
    this.journal.commit(epoch);
    this.#committed = epoch;
  }

  /** Applies a committed epoch. Throws IMAGE_CORRUPT if the image is then not what the primary had. */
  apply(staged: StagedEpoch, commit: Commit): Promise<void> {
    return this.#exclusive(async () => {
      await this.#write(staged, commit.epoch);
      crashPoint('backup.applied');
      if (digestHex(this.#digest) !== commit.digest || digestHex(this.#stateDigest) !== commit.stateDigest) {
        throw this.#corrupt(commit.epoch);
      }
      this.#recordApplied(commit);
      for (const follower of this.#followers) await follower(this.#held(), staged.ram);
      release(staged);
    });
  }

  atEpoch<T>(work: (held: HeldImage) => Promise<T>): Promise<T> {
    return this.#exclusive(() => work(this.#held()));
  }

  follow(listener: EpochListener): () => void {
    this.#followers.add(listener);
    return () => this.#followers.delete(listener);
  }

  /** Only within #exclusive. */
  #held(): HeldImage {
    const { record } = this;
    if (record === undefined || record.applied === 0 || this.#ram === undefined || this.#state === undefined)
      throw new RomulusError('IMAGE_NOT_PROMOTABLE', 'there is no whole image yet');
    return { epoch: record.applied, ram: this.#ram, state: this.#state.read(0, record.stateBytes) };
  }

  /** Resolves once the image holds this epoch, applied and not only committed. */
  whenApplied(epoch: Epoch): Promise<void> {
    if ((this.record?.applied ?? 0) >= epoch) return Promise.resolve();
    return new Promise((resolve) => this.#appliedWaiters.push({ epoch, resolve }));
  }

  /** Lays the device state out as the file a hypervisor loads. */
  writeState(): string {
    const { state } = this.#held();
    try {
      writeFileSync(this.statePath, state, { mode: 0o600 });
    } catch (cause) {
      throw ioError(`cannot write ${this.statePath}`, cause);
    }
    return this.statePath;
  }

  /** Digests by a full pass, beside those the primary named for the epoch applied last. */
  verify(): Promise<{ epoch: Epoch; expected: string; found: string }> {
    return this.#exclusive(async () => {
      const record = this.record;
      if (record === undefined || this.#ram === undefined || this.#state === undefined) {
        throw new RomulusError('VM_UNKNOWN', 'there is no image to verify');
      }
      const [ram, state] = await this.#scan(this.#ram, this.#state);
      return {
        epoch: record.applied,
        expected: `${record.digest}:${record.stateDigest}`,
        found: `${digestHex(ram)}:${digestHex(state)}`,
      };
    });
  }

  close(): void {
    this.journal.abort();
    this.#unmap();
    this.#record.close();
  }

  /** Closes and removes everything. */
  destroy(): void {
    this.close();
    rmSync(this.dir, { recursive: true, force: true });
  }

  get #stateImagePath(): string {
    return join(this.dir, 'image.state');
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#busy.then(work);
    this.#busy = mine.catch(() => {}); // whoever asked for it gets the error
    return mine;
  }

  async #write(staged: StagedEpoch, epoch: Epoch): Promise<void> {
    if (this.#ram === undefined || this.#state === undefined)
      throw new RomulusError('INTERNAL', 'no image is open');
    const [ram, state] = await Promise.all([
      engine()
        .applyPayloads(this.#ram, staged.ram, this.#threads)
        .finally(() => crashPoint('backup.half-applied')),
      engine().applyPayloads(this.#state, staged.state, 1),
    ]);
    this.#digest = BigInt.asUintN(64, this.#digest + ram.digestDelta);
    this.applyNs += ram.applyNs + state.applyNs;
    this.#stateDigest = BigInt.asUintN(64, this.#stateDigest + state.digestDelta);
    await this.#writeDisk(staged, epoch);
  }

  async #writeDisk(staged: StagedEpoch, epoch: Epoch): Promise<void> {
    if (!staged.diskInJournal) return this.disk?.apply(staged.disk);
    for (const { kind, head, payload } of this.journal.frames(epoch)) {
      if (kind !== Kind.chunk) continue;
      const { region, codec, rawBytes } = parseChunk(head, MAX_PAYLOAD_BYTES);
      if (region === Region.disk) await this.disk?.apply([await decompressPayload(codec, rawBytes, payload)]);
    }
  }

  #recordApplied(commit: Commit): void {
    const record = this.record;
    if (record === undefined) throw new RomulusError('INTERNAL', 'an epoch was applied without a record');
    const { term, epoch, digest, stateDigest, stateBytes } = commit;
    this.#record.write({ ...record, term, applied: epoch, syncing: false, digest, stateDigest, stateBytes });
    this.journal.forget(epoch);
    this.disk?.applied();
    for (const waiter of this.#appliedWaiters) if (waiter.epoch <= epoch) waiter.resolve();
    this.#appliedWaiters = this.#appliedWaiters.filter((waiter) => waiter.epoch > epoch);
  }

  async #rescan(): Promise<void> {
    if (this.#ram === undefined || this.#state === undefined) return;
    [this.#digest, this.#stateDigest] = await this.#scan(this.#ram, this.#state);
  }

  #scan(ram: Memory, state: Memory): Promise<[bigint, bigint]> {
    return Promise.all([engine().digestOf(ram, this.#threads), engine().digestOf(state, 1)]);
  }

  #map(ramBytes: number, create: boolean): void {
    const options = { writable: true, create };
    try {
      // A guest may have far more memory than it uses: the image takes space as pages come.
      this.#ram = engine().openMemory(this.ramPath, { ...options, sizeBytes: ramBytes, sparse: true });
      this.#state = engine().openMemory(this.#stateImagePath, {
        ...options,
        sizeBytes: MAX_STATE_BYTES,
        reserve: create,
      });
    } catch (cause) {
      this.#unmap();
      throw ioError(`cannot make a standby image of ${ramBytes} bytes in ${this.dir}`, cause);
    }
  }

  #unmap(): void {
    this.#ram?.close();
    this.#state?.close();
    this.#ram = undefined;
    this.#state = undefined;
  }

  #corrupt(epoch: Epoch): RomulusError {
    this.#sound = false;
    return new RomulusError(
      'IMAGE_CORRUPT',
      `the standby image at epoch ${epoch} is not what the primary had`,
      {
        hint: 'it cannot be promoted; the primary copies it anew by itself, or: unprotect and protect the VM again',
      },
    );
  }
}
