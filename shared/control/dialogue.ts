/** One node's talk with the witness: one request at a time, what was last heard, and whether a write is in doubt. */

import type {
  CasResult,
  RegisterEntry,
  RegisterReading,
  RegisterState,
  RegisterVersion,
} from './register.ts';
import { sameVersion, versionOf } from './register.ts';

export interface Dialogue {
  /** Number of the last request; an answer to any other is ignored. */
  ask: number;
  outstanding: 'read' | 'cas' | undefined;
  /** No request before this. */
  nextAskMs: number;
  /** When the witness last answered; -Infinity before the first time. */
  answeredMs: number;
  register: RegisterState | undefined;
  liveRunId: string;
  /** When this node first saw that the witness had restarted since the owner confirmed; undefined if it has not. */
  restartSeenMs: number | undefined;
  /** A write against this version (undefined: against an absent register) may still be applied. */
  inDoubt: { version: RegisterVersion | undefined; inRun: string } | undefined;
}

export type WitnessEffect =
  | { do: 'read'; ask: number }
  | { do: 'cas'; ask: number; expected: RegisterVersion | undefined; next: RegisterEntry; inRun: string };

/** Exactly one for each effect, whatever happens; a time-out is the outcome `unknown`. */
export type WitnessEvent = { on: 'answer'; ask: number; answer: RegisterReading | CasResult };

export const newDialogue: Dialogue = {
  ask: 0,
  outstanding: undefined,
  nextAskMs: 0,
  answeredMs: Number.NEGATIVE_INFINITY,
  register: undefined,
  liveRunId: '',
  restartSeenMs: undefined,
  inDoubt: undefined,
};

export function mayAsk(dialogue: Dialogue, nowMs: number): boolean {
  return dialogue.outstanding === undefined && nowMs >= dialogue.nextAskMs;
}

export function hasAnswered(dialogue: Dialogue): boolean {
  return dialogue.answeredMs > Number.NEGATIVE_INFINITY;
}

/** True if the last write of the register was made before the witness restarted. */
export function needsConfirming(dialogue: Dialogue): boolean {
  return dialogue.restartSeenMs !== undefined;
}

export function askToRead(dialogue: Dialogue): [Dialogue, WitnessEffect] {
  const ask = dialogue.ask + 1;
  return [
    { ...dialogue, ask, outstanding: 'read' },
    { do: 'read', ask },
  ];
}

/**
 * Always against the version and the run last heard: a later write that is answered settles every earlier one, and a
 * witness that restarted meanwhile refuses it.
 */
export function askToWrite(dialogue: Dialogue, next: RegisterEntry): [Dialogue, WitnessEffect] {
  const ask = dialogue.ask + 1;
  const inRun = dialogue.liveRunId;
  const expected = dialogue.register === undefined ? undefined : versionOf(dialogue.register);
  return [
    { ...dialogue, ask, outstanding: 'cas', inDoubt: { version: expected, inRun } },
    { do: 'cas', ask, expected, next, inRun },
  ];
}

/** `retryMs` after silence; the caller puts its own pace on top of an answer. */
export function hear(dialogue: Dialogue, event: WitnessEvent, nowMs: number, retryMs: number): Dialogue {
  if (event.ask !== dialogue.ask || dialogue.outstanding === undefined) return dialogue;
  const { answer } = event;
  if (answer.outcome === 'unknown')
    return { ...dialogue, outstanding: undefined, nextAskMs: nowMs + retryMs };
  const register = answer.outcome === 'conflict' ? answer.current : answer.state;
  const liveRunId = answer.outcome === 'applied' ? answer.state.runId : answer.liveRunId;
  const restarted = register !== undefined && register.runId !== liveRunId;
  // A second restart is a new one: what was proven since the first may be lost in it.
  const seenMs = liveRunId === dialogue.liveRunId ? (dialogue.restartSeenMs ?? nowMs) : nowMs;
  const { inDoubt } = dialogue;
  // The version has moved on, or the run has: what was asked before cannot be applied any more.
  const settled =
    inDoubt === undefined || !sameVersion(register, inDoubt.version) || liveRunId !== inDoubt.inRun;
  return {
    ...dialogue,
    outstanding: undefined,
    nextAskMs: nowMs,
    answeredMs: nowMs,
    register,
    liveRunId,
    restartSeenMs: restarted ? seenMs : undefined,
    inDoubt: settled ? undefined : inDoubt,
  };
}

/** For a VM without a witness: the write counts as done at once, and nobody else sees it. */
export function writeLocally(dialogue: Dialogue, next: RegisterEntry, nowMs: number): Dialogue {
  const seq = (dialogue.register?.seq ?? 0) + 1;
  return { ...dialogue, answeredMs: nowMs, register: { ...next, seq, runId: '' }, inDoubt: undefined };
}
