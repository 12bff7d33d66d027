/** What an operator decides about a VM's protection, the times it works with, and what is refused at protect time. */

import { RomulusError } from '../errors.ts';

export interface Policy {
  /** `manual`: the backup promotes itself only when a person asks. */
  failover: 'auto' | 'manual';
  /**
   * What a primary does that lost its backup: run on unprotected, pause the guest until the backup is back, or (`hold`) run
   * on with its output held. The last is for hosts without a witness: only so can the other side be promoted by hand safely.
   */
  onBackupLoss: 'solo' | 'freeze' | 'hold';
  /** Whether a witness is configured; without one there is no automatic failover. */
  witness: boolean;
  /** `required`: after winning the register, a backup also waits for proof that the old primary is dead (rule 15). */
  fence: 'none' | 'required';
  /** P: the primary may show output of epoch n for so long after it sent COMMIT(n). */
  promiseMs: number;
  /** rho: most by which the two hosts' clocks may run apart, as a ratio. */
  driftRatio: number;
  /** delta: time the gate needs to shut once a permit ran out. */
  marginMs: number;
  /** Silence after which a primary gives its backup up. Shorter than promoteAfterMs: in a cut with both alive, nothing moves. */
  soloAfterMs: number;
  /** Silence on every channel after which a backup claims the VM. */
  promoteAfterMs: number;
  /** A primary that has heard neither peer nor witness for so long pauses its guest. */
  isolateAfterMs: number;
  /** A handed-over VM that the peer has not resumed for so long is taken back. */
  reclaimAfterMs: number;
  /** A resync that makes no headway for so long is given up; slow answers alone do not end it. */
  resyncPatienceMs: number;
  /** Between two looks at the register while nothing happens. */
  witnessPollMs: number;
  /** Between two tries at a witness that does not answer. */
  retryMs: number;
  /** A peer must be heard without a break for so long before it is protected with again; doubles with every flap. */
  holdoffMs: number;
  holdoffMaxMs: number;
  /** A protection that held for so long ends a series of flaps. */
  calmMs: number;
}

export const defaultPolicy: Policy = {
  failover: 'auto',
  onBackupLoss: 'solo',
  witness: true,
  fence: 'none',
  promiseMs: 250,
  driftRatio: 0.001,
  marginMs: 20,
  soloAfterMs: 250,
  promoteAfterMs: 300,
  isolateAfterMs: 2000,
  reclaimAfterMs: 3000,
  resyncPatienceMs: 10_000,
  witnessPollMs: 500,
  retryMs: 50,
  holdoffMs: 500,
  holdoffMaxMs: 10_000,
  calmMs: 30_000,
};

/** What config and hello say of a VM's protection; `policyOf` makes the times of it. */
export interface ProtectionChoice {
  failover: 'auto' | 'manual';
  onBackupLoss: 'solo' | 'freeze' | 'hold';
  /** Silence on every channel after which the other side counts as lost. */
  silenceMs: number;
}

/** Longest promise: output that waits longer for its acknowledgement asks for a new one. */
const MAX_PROMISE_MS = 500;
/** Share of the silence after which the primary gives its backup up; the backup then waits the rest. */
const SOLO_SHARE = 5 / 6;

/** The promise runs out within the silence, so that a promotion waits for nothing else. */
export function policyOf(choice: ProtectionChoice, has: { witness: boolean; fence: boolean }): Policy {
  const { failover, onBackupLoss, silenceMs } = choice;
  const soloAfterMs = Math.floor(silenceMs * SOLO_SHARE);
  return {
    ...defaultPolicy,
    failover: has.witness ? failover : 'manual',
    onBackupLoss,
    witness: has.witness,
    fence: has.fence ? 'required' : 'none',
    promiseMs: Math.min(MAX_PROMISE_MS, soloAfterMs),
    soloAfterMs,
    promoteAfterMs: silenceMs,
    isolateAfterMs: Math.max(defaultPolicy.isolateAfterMs, 2 * silenceMs),
    reclaimAfterMs: Math.max(defaultPolicy.reclaimAfterMs, 3 * silenceMs),
  };
}

/** Rule 8, the primary's half: `commitSentMs` was read on its own clock *before* COMMIT was sent. */
export function permitEndsMs(policy: Policy, commitSentMs: number): number {
  return commitSentMs + policy.promiseMs;
}

/** Rule 8, the backup's half, on its own clock: no resume before this. Always after the primary's permit has run out. */
export function promiseEndsMs(policy: Policy, ackMs: number): number {
  return ackMs + policy.promiseMs * (1 + policy.driftRatio) + policy.marginMs;
}

/** Silence before the next try at protecting, after `flaps` losses in a row. */
export function holdoffMs(policy: Policy, flaps: number): number {
  return Math.min(policy.holdoffMs * 2 ** flaps, policy.holdoffMaxMs);
}

/**
 * Refuses what could not be kept. `ungated` names side effects that bypass the output gate ("passthrough 03:00.0",
 * "shared disk sdb"): only a proof that the old primary is dead makes up for them.
 */
export function checkPolicy(policy: Policy, ungated: readonly string[]): void {
  if (policy.failover === 'auto' && !policy.witness) {
    throw new RomulusError(
      'CONFIG_INVALID',
      'Automatic failover needs a witness: two hosts cannot tell death from a cut.',
      {
        hint: 'Set `witness:` in the config file, or `failover: manual` for this VM',
      },
    );
  }
  if (policy.failover === 'auto' && policy.fence === 'none' && ungated.length > 0) {
    const message = `Automatic failover is refused: the output gate cannot hold ${ungated.join(', ')}.`;
    throw new RomulusError('FENCE_UNPROVEN', message, {
      hint: 'Set `fence:` to a command that proves the old host dead, or `failover: manual` for this VM',
    });
  }
}
