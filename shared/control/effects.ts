/** How the effects that both authorities share are carried out: witness, term file, audit log. */

import type { Logger } from '../log.ts';
import type { SharedEffect } from './authority.ts';
import type { WitnessEvent } from './dialogue.ts';
import type { CasResult, RegisterReading, WitnessRegister } from './register.ts';
import type { TermFile } from './terms.ts';

export type Refused = Extract<SharedEffect, { do: 'refuse' }>;

export interface SharedHands {
  vm: string;
  term: TermFile;
  /** undefined: no witness is configured, and the machines ask for none. */
  register: WitnessRegister | undefined;
  log: Logger;
  onEvent(kind: string, fields: Record<string, unknown>): void;
  /** Gives the witness's answer to the machine, now or much later. */
  answer(event: WitnessEvent): void;
  reject(term: number): void;
  refuse(refused: Refused): void;
}

/** Throws what the term file throws; a witness that does not answer is an answer, `unknown`. */
export function carryOutShared(effect: SharedEffect, hands: SharedHands): void | Promise<void> {
  switch (effect.do) {
    case 'persist':
      return hands.term.save(effect.record);
    case 'read':
      ask(hands, effect.ask, (register) => register.read(hands.vm));
      return;
    case 'cas': {
      const { expected, next, inRun } = effect;
      ask(hands, effect.ask, (register) => register.compareAndSet(hands.vm, expected, next, { inRun }));
      return;
    }
    case 'reject':
      hands.reject(effect.term);
      return;
    case 'refuse':
      hands.refuse(effect);
      return;
    case 'note':
      hands.log.warn({ vm: hands.vm, kind: effect.kind, audit: true }, effect.detail);
      hands.onEvent(effect.kind, { detail: effect.detail });
  }
}

/** Not awaited: effects behind it may be to shut the gate. */
function ask(
  hands: SharedHands,
  number: number,
  request: (register: WitnessRegister) => Promise<RegisterReading | CasResult>,
): void {
  const answered: Promise<RegisterReading | CasResult> =
    hands.register === undefined
      ? Promise.resolve({ outcome: 'unknown', reason: 'no witness is configured' })
      : request(hands.register).catch((thrown) => ({ outcome: 'unknown', reason: String(thrown) }));
  void answered.then((answer) => hands.answer({ on: 'answer', ask: number, answer }));
}
