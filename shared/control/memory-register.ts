/** A witness in this process, with the faults of a real one: lost replies, late writes, freezes, restarts, lost data. */

import type {
  CasOptions,
  CasResult,
  RegisterEntry,
  RegisterReading,
  RegisterState,
  RegisterVersion,
  WitnessRegister,
} from './register.ts';
import { sameVersion } from './register.ts';

/** What a restarted witness still knows. */
export type Survives = 'everything' | 'all-but-last-write' | 'nothing';

/** The store itself, synchronous, so that a simulation decides when requests reach it and when replies leave it. */
export class MemoryWitness {
  private registers = new Map<string, RegisterState>();
  private beforeLastWrite: { vm: string; state: RegisterState | undefined } | undefined;
  private runs = 1;

  get runId(): string {
    return `run-${this.runs}`;
  }

  read(vm: string): Extract<RegisterReading, { outcome: 'read' }> {
    return { outcome: 'read', state: this.registers.get(vm), liveRunId: this.runId };
  }

  compareAndSet(
    vm: string,
    expected: RegisterVersion | undefined,
    next: RegisterEntry,
    options: CasOptions = {},
  ): Exclude<CasResult, { outcome: 'unknown' }> {
    const current = this.registers.get(vm);
    const refused =
      !sameVersion(current, expected) ||
      next.term < (current?.term ?? 0) ||
      (options.inRun !== undefined && options.inRun !== this.runId);
    if (refused) return { outcome: 'conflict', current, liveRunId: this.runId };
    const state: RegisterState = { ...next, seq: (current?.seq ?? 0) + 1, runId: this.runId };
    this.beforeLastWrite = { vm, state: current };
    this.registers.set(vm, state);
    return { outcome: 'applied', state };
  }

  restart(survives: Survives): void {
    this.runs += 1;
    const lost = this.beforeLastWrite;
    if (survives === 'nothing') this.registers.clear();
    if (survives === 'all-but-last-write' && lost !== undefined) {
      if (lost.state === undefined) this.registers.delete(lost.vm);
      else this.registers.set(lost.vm, lost.state);
    }
    this.beforeLastWrite = undefined;
  }
}

/** The register of one client of a `MemoryWitness`; set the fault fields between calls. */
export class MemoryRegister implements WitnessRegister {
  readonly witness: MemoryWitness;
  /** The next writes are applied, but their replies get lost. */
  loseReplies = false;
  private frozen: (() => void)[] | undefined;

  constructor(witness: MemoryWitness = new MemoryWitness()) {
    this.witness = witness;
  }

  /** Requests are taken in and not answered, as by a stopped process. */
  freeze(): void {
    this.frozen ??= [];
  }

  /** What was taken in while frozen is applied now, in order. */
  thaw(): void {
    const late = this.frozen ?? [];
    this.frozen = undefined;
    for (const apply of late) apply();
  }

  restart(survives: Survives): void {
    this.frozen = undefined;
    this.witness.restart(survives);
  }

  async checkDurability(): Promise<void> {}

  async read(vm: string): Promise<RegisterReading> {
    if (this.frozen !== undefined) return { outcome: 'unknown', reason: 'timed out' };
    return this.witness.read(vm);
  }

  async compareAndSet(
    vm: string,
    expected: RegisterVersion | undefined,
    next: RegisterEntry,
    options?: CasOptions,
  ): Promise<CasResult> {
    const apply = () => this.witness.compareAndSet(vm, expected, next, options);
    if (this.frozen !== undefined) {
      this.frozen.push(apply);
      return { outcome: 'unknown', reason: 'timed out' };
    }
    const result = apply();
    return this.loseReplies ? { outcome: 'unknown', reason: 'reply lost' } : result;
  }

  async close(): Promise<void> {}
}
