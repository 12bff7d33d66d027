/** Source for a recorded guest: it "runs" by taking on what the next epoch of its trace wrote, and idles after the last. */

import { existsSync } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { type DirtyBitmap, engine, type Memory } from '../../native/index.ts';
import { RomulusError } from '../../shared/errors.ts';
import { TraceReader } from '../../shared/hypervisor/trace.ts';
import { replayState } from '../../shared/hypervisor/trace-state.ts';
import { type Geometry, PAGE_BYTES } from '../../shared/vm.ts';
import type { DirtyTracking, GuestState, Source } from './source.ts';

export interface ReplayOptions {
  tracePath: string;
  /** Directory of this guest's run files: whether it was fenced. */
  runDir: string;
  /** Awaited before the guest goes on to epoch `next` (from 1), or idles on: its memory holds still until this resolves. */
  beforeEpoch?(next: number): Promise<void>;
}

export class ReplaySource implements Source {
  readonly kind = 'replay';
  readonly tracking: DirtyTracking = 'trace';
  readonly #options: ReplayOptions;
  #trace: TraceReader | undefined;
  #memory: Memory | undefined;
  #geometry: Geometry | undefined;
  /** Dirtied and not yet taken. */
  #dirty: DirtyBitmap | undefined;
  #allDirty = true;
  /** The guest running: resolves when the writes of its current epoch are done. */
  #run: Promise<void> | undefined;
  #paused = false;
  #fenced = false;

  constructor(options: ReplayOptions) {
    this.#options = options;
  }

  get geometry(): Geometry {
    return needAttached(this.#geometry);
  }

  get memory(): Memory {
    return needAttached(this.#memory);
  }

  /** Epochs of the trace replayed so far; grows no further once the guest idles. */
  get replayed(): number {
    return needAttached(this.#trace).applied;
  }

  /** Starts at the beginning of the trace, so a guest that another process replayed is not this one. */
  async attach({ mayStart = true }: { mayStart?: boolean } = {}): Promise<void> {
    if (!mayStart) {
      throw new RomulusError('HV_GUEST_GONE', 'a replayed guest ends with the agent that replayed it', {
        hint: 'protect it anew; it starts at the beginning of its trace',
      });
    }
    this.#trace = await TraceReader.open(this.#options.tracePath);
    const { ramBytes } = this.#trace.header;
    this.#memory = engine().anonymousMemory(ramBytes);
    this.#dirty = engine().createBitmap(ramBytes / PAGE_BYTES);
    this.#geometry = { arch: 'x86_64', ramBytes, cpus: 1, hypervisor: 'replay 1' };
    this.#allDirty = true;
    try {
      await this.#trace.loadInitial(this.#memory);
    } catch (thrown) {
      await this.detach();
      throw thrown;
    }
    this.#fenced = existsSync(this.#fencePath);
    this.#paused = this.#fenced;
  }

  async pause(): Promise<void> {
    if (this.#paused) return;
    this.#run ??= this.#runEpoch();
    try {
      await this.#run;
    } finally {
      this.#run = undefined;
    }
    this.#paused = true;
  }

  async takeDirty(into: DirtyBitmap): Promise<number> {
    const dirty = needAttached(this.#dirty);
    const before = into.count();
    if (this.#allDirty) into.setAll();
    else into.or(dirty);
    this.#allDirty = false;
    dirty.clear();
    return into.count() - before;
  }

  async deviceState(): Promise<Buffer> {
    return replayState(this.replayed);
  }

  async resume(): Promise<void> {
    if (this.#fenced) {
      throw new RomulusError('TERM_STALE', 'this replayed guest is fenced', {
        hint: `rm ${this.#fencePath}`,
      });
    }
    this.#paused = false;
    this.#run = this.#runEpoch();
    this.#run.catch(() => {}); // told by the pause() that waits for it
  }

  async fence(): Promise<void> {
    await mkdir(this.#options.runDir, { recursive: true, mode: 0o700 });
    const mark = await open(this.#fencePath, 'w', 0o600);
    await mark.sync();
    await mark.close();
    await this.#run?.catch(() => {}); // it stands still in any case
    this.#fenced = true;
    this.#paused = true;
  }

  async guestState(): Promise<GuestState> {
    return this.#paused ? 'paused' : 'running';
  }

  /** A recorded guest never ends by itself. */
  onGuestEnd(): void {}

  async detach(): Promise<void> {
    const { memory, trace, run } = { memory: this.#memory, trace: this.#trace, run: this.#run };
    this.#memory = undefined;
    this.#trace = undefined;
    this.#run = undefined;
    trace?.close();
    await run?.catch(() => {}); // a read that the close cut short
    memory?.close();
  }

  get #fencePath(): string {
    return join(this.#options.runDir, 'fenced');
  }

  async #runEpoch(): Promise<void> {
    const trace = needAttached(this.#trace);
    const memory = needAttached(this.#memory);
    await this.#options.beforeEpoch?.(trace.applied + 1);
    if (this.#trace !== trace) return; // detached meanwhile
    const epoch = await trace.advance(memory);
    // Only now: a page taken as clean before its write is done would be lost.
    if (epoch) for (const [first, count] of runsOf(epoch.pages)) this.#dirty?.set(first, count);
  }
}

function* runsOf(pages: Uint32Array): Generator<[first: number, count: number]> {
  for (let i = 0; i < pages.length; ) {
    const first = pages[i] ?? 0;
    let count = 1;
    while (pages[i + count] === first + count) count++;
    yield [first, count];
    i += count;
  }
}

function needAttached<T>(value: T | undefined): T {
  if (value === undefined) throw new RomulusError('INTERNAL', 'the guest is not attached');
  return value;
}
