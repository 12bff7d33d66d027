/** The witness register: one small durable record per VM that decides, by compare-and-set, who may run it. */

import type { Epoch } from '../vm.ts';

/**
 * SYNCING: never yet protected, the owner runs ungated. PROTECTED: the peer holds everything a client has seen.
 * SOLO: the owner runs unprotected and no other copy is valid. SWITCHING: handed over to `owner`, who has not resumed yet.
 */
export const modes = ['SYNCING', 'PROTECTED', 'SOLO', 'SWITCHING'] as const;
export type Mode = (typeof modes)[number];

/** What a writer decides; `seq` and `runId` are added by the register itself. */
export interface RegisterEntry {
  /** Grows by one whenever the owner changes; a write with a lower one is refused. */
  term: number;
  /** Name of the node that may run the VM. */
  owner: string;
  mode: Mode;
  /** An image that has not committed at least this epoch is not promotable. */
  syncEpoch: Epoch;
  /** Who vouched that the old primary is dead, if a person forced the last change of owner. */
  claim?: string;
}

export interface RegisterState extends RegisterEntry {
  /** Grows by one with every write. */
  seq: number;
  /** The witness process that took the last write; see `RegisterVersion`. */
  runId: string;
}

/**
 * What a compare-and-set compares. The run id is part of it: after a witness restarted with writes lost, sequence
 * numbers are given out a second time, and a writer from before must not mistake the new for the old.
 */
export type RegisterVersion = Pick<RegisterState, 'term' | 'seq' | 'runId'>;

/** `liveRunId` is the witness process that answered; it differs from `state.runId` until the owner confirms after a restart. */
export type RegisterReading =
  | { outcome: 'read'; state: RegisterState | undefined; liveRunId: string }
  | { outcome: 'unknown'; reason: string };

/**
 * `unknown` means that the write may have been applied, may be applied later, or never. Only a later write that is
 * answered settles it: a read that shows the old version does not.
 */
export type CasResult =
  | { outcome: 'applied'; state: RegisterState }
  | { outcome: 'conflict'; current: RegisterState | undefined; liveRunId: string }
  | { outcome: 'unknown'; reason: string };

export interface CasOptions {
  /**
   * The witness process this write was decided on: any other refuses it, as a conflict (rule 2). A restart that lost
   * writes would otherwise apply it to a register that is older than what the writer knew.
   */
  inRun?: string;
}

/** Linearizable and durable. No method throws for a witness that is slow, gone or frozen: that is `unknown`. */
export interface WitnessRegister {
  /** Throws WITNESS_UNSAFE for a store that could lose or fork an acknowledged write, WITNESS_UNREACHABLE if it cannot ask. */
  checkDurability(): Promise<void>;
  read(vm: string): Promise<RegisterReading>;
  /** `expected` undefined: only if the register is absent. */
  compareAndSet(
    vm: string,
    expected: RegisterVersion | undefined,
    next: RegisterEntry,
    options?: CasOptions,
  ): Promise<CasResult>;
  close(): Promise<void>;
}

export function versionOf(state: RegisterState): RegisterVersion {
  return { term: state.term, seq: state.seq, runId: state.runId };
}

export function sameVersion(a: RegisterVersion | undefined, b: RegisterVersion | undefined): boolean {
  return a?.term === b?.term && a?.seq === b?.seq && a?.runId === b?.runId;
}
