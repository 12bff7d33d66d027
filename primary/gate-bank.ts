/** All gates of a guest as one, and what they are told to do: shut, held epoch by epoch, or open. */

import type { Epoch } from '../shared/vm.ts';
import type { Held, OutputGate } from './output/gate.ts';
import { heldBy } from './output/gate.ts';

export class GateBank implements OutputGate {
  readonly name = 'all devices';
  readonly maxEpochs: number;
  readonly #gates: readonly OutputGate[];
  /** Called before a seal: it may begin to hold, or have the gates left open. */
  readonly #onSeal: (epoch: Epoch) => void;
  #open = false;
  #heldFrom: Epoch | undefined;

  constructor(gates: readonly OutputGate[], onSeal: (epoch: Epoch) => void) {
    this.#gates = gates;
    this.#onSeal = onSeal;
    this.maxEpochs = Math.min(Number.POSITIVE_INFINITY, ...gates.map((gate) => gate.maxEpochs));
  }

  attach(): void {
    for (const gate of this.#gates) gate.attach();
  }

  /** The guest of an open gate runs alone, and an epoch captured of it says nothing about its output. */
  seal(epoch: Epoch): void {
    this.#heldFrom = undefined;
    this.#onSeal(epoch);
    if (this.#open || this.#heldFrom === epoch) return;
    for (const gate of this.#gates) gate.seal(epoch);
  }

  /** Called within seal(): what was shown stays shown, what comes now waits for the acknowledgement of `epoch`. */
  hold(epoch: Epoch): void {
    this.#open = false;
    this.#heldFrom = epoch;
    for (const gate of this.#gates) gate.seal(epoch);
  }

  release(epoch: Epoch, permitUntilMs: number): void {
    if (this.#open) return;
    for (const gate of this.#gates) gate.release(epoch, permitUntilMs);
  }

  openUnprotected(): void {
    this.#open = true;
    for (const gate of this.#gates) gate.openUnprotected();
  }

  close(): void {
    this.#open = false;
    for (const gate of this.#gates) gate.close();
  }

  /** Earlier releases count no more; what is open stays open. */
  voidPermits(): void {
    if (!this.#open) this.close();
  }

  discard(): void {
    this.#open = false;
    for (const gate of this.#gates) gate.discard();
  }

  held(): Held {
    return heldBy(this.#gates) ?? { packets: 0, bytes: 0, oldestMs: 0 };
  }

  /** For status: undefined for a guest without a gate. */
  heldIfAny(): Held | undefined {
    return heldBy(this.#gates);
  }

  onPressure(listener: () => void): void {
    for (const gate of this.#gates) gate.onPressure(listener);
  }

  detach(): void {
    for (const gate of this.#gates) gate.detach();
  }
}
