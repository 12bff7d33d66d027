/** What `status` says of a VM's protection, why, and since when; each change of it is an event. */

import type { RomulusError } from './errors.ts';
import type { ProtectionState } from './vm.ts';

export class ShownState {
  state: ProtectionState = 'STARTING';
  reason: RomulusError | undefined;
  since = new Date();
  readonly #onEvent: (kind: string, fields: Record<string, unknown>) => void;

  constructor(onEvent: (kind: string, fields: Record<string, unknown>) => void) {
    this.#onEvent = onEvent;
  }

  /** A new reason alone is no event. */
  become(state: ProtectionState, reason?: RomulusError): void {
    this.reason = reason;
    if (state === this.state) return;
    this.state = state;
    this.since = new Date();
    this.#onEvent('state', { state, ...(reason && { reason: reason.message, code: reason.code }) });
  }

  status(): { state: ProtectionState; reason?: string; hint?: string; since: string } {
    return {
      state: this.state,
      ...(this.reason && { reason: this.reason.message }),
      ...(this.reason?.hint && { hint: this.reason.hint }),
      since: this.since.toISOString(),
    };
  }
}
