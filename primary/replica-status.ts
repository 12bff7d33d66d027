/** What a primary's phase, session and guest mean to an operator, in the words of `status`. */

import type { PrimaryState } from '../shared/control/primary-state.ts';
import { RomulusError } from '../shared/errors.ts';
import type { ProtectionState } from '../shared/vm.ts';

export interface ReplicaView {
  state: ProtectionState;
  reason: RomulusError | undefined;
}

export interface ReplicaFacts {
  authority: PrimaryState;
  /** The authority itself broke. */
  failure: RomulusError | undefined;
  /** What an operator should know beyond the phase, with the command to run. */
  concern: string | undefined;
  /** A session is open, and the backup takes epochs on it. */
  connected: boolean;
  /** Why the last session, or the last try at one, ended. */
  lost: RomulusError | undefined;
  /** How the guest ended, if it did. */
  guestEnd: RomulusError | undefined;
  /** What the backup said of a guest that it cannot run. */
  refused: RomulusError | undefined;
  stopped: boolean;
}

export function viewOf(facts: ReplicaFacts): ReplicaView {
  const { authority, failure, connected, lost, guestEnd } = facts;
  if (authority.phase === 'FENCED') return { state: 'FENCED', reason: fenced(authority) };
  if (facts.stopped || facts.refused !== undefined)
    return { state: 'ENDED', reason: guestEnd ?? facts.refused };
  if (failure !== undefined) return { state: 'DEGRADED', reason: failure };
  const degraded = { state: 'DEGRADED', reason: reasonOf(facts) } as const;
  switch (authority.phase) {
    case 'ENDED':
      return { state: 'ENDED', reason: guestEnd };
    case 'HANDING':
    case 'HANDED':
      return { state: 'SWITCHING', reason: guestEnd };
    case 'PROTECTED':
      // What the witness does not know of, the backup cannot claim.
      if (authority.barred !== undefined) return degraded;
      return connected ? { state: 'PROTECTED', reason: undefined } : degraded;
    case 'JOINING':
      if (authority.barred !== undefined) return degraded;
      return { state: 'SYNCING', reason: undefined };
    case 'SOLO':
      if (connected && authority.resyncing) return { state: 'SYNCING', reason: undefined };
      return lost === undefined && !connected && authority.joinedMs === Number.NEGATIVE_INFINITY
        ? { state: 'STARTING', reason: undefined }
        : degraded;
    case 'LEAVING':
      return degraded;
    case 'STARTING':
      return authority.barred === undefined ? { state: 'STARTING', reason: concernOf(facts) } : degraded;
  }
}

/** Why the backup is lost comes before what follows from it, unless an operator must act on that first. */
function reasonOf(facts: ReplicaFacts): RomulusError | undefined {
  const concern = concernOf(facts);
  const { lost, authority } = facts;
  if (concern === undefined || lost === undefined) return concern ?? lost;
  if (authority.barred !== undefined || concern.code !== 'DEGRADED') return concern;
  const hint = lost.hint ?? concern.hint;
  return new RomulusError(lost.code, `${lost.message}; ${concern.message}`, {
    cause: lost,
    ...(hint && { hint }),
  });
}

function concernOf({ concern, authority }: ReplicaFacts): RomulusError | undefined {
  if (authority.policy.witness && authority.witness.answeredMs === Number.NEGATIVE_INFINITY) {
    const message = 'the witness has not answered yet; the guest shows nothing until it does';
    return new RomulusError('WITNESS_UNREACHABLE', message, { hint: 'romulus doctor' });
  }
  // Without a witness nothing is wrong with that; `status` has a field for it.
  const said = authority.policy.witness || authority.quiet || authority.barred !== undefined;
  if (concern === undefined || !said) return undefined;
  const { vm } = authority.party;
  const next = concern.includes('romulus confirm') ? 'confirm' : 'status';
  return new RomulusError('DEGRADED', concern, { hint: `romulus ${next} ${vm}` });
}

function fenced({ party, term }: PrimaryState): RomulusError {
  return new RomulusError('TERM_STALE', `${party.vm} runs elsewhere in term ${term}; here it is stopped`, {
    hint: `on ${party.peer}: romulus status ${party.vm}`,
  });
}
