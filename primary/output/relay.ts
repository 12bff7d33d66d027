/** Output gate in user space: a native thread between QEMU's stream netdev and a tap, with any number of epochs in flight. */

import type { Relay } from '../../native/index.ts';
import { RomulusError } from '../../shared/errors.ts';
import { MAX_WINDOW_EPOCHS } from '../../shared/limits.ts';
import { KeptRelay } from '../../shared/net/relay.ts';
import type { Epoch, NetworkSpec } from '../../shared/vm.ts';
import type { Held, OutputGate } from './gate.ts';

export class RelayGate implements OutputGate {
  readonly name: string;
  readonly maxEpochs = MAX_WINDOW_EPOCHS;
  readonly #socketPath: string;
  readonly #kept: KeptRelay;
  readonly #relay: Relay;
  #onPressure: () => void = () => {};

  /** Opens the tap at once, so that a host that cannot says so before the guest starts. `socketPath` is QEMU's. */
  constructor(network: NetworkSpec, socketPath: string) {
    this.name = `relay ${network.tap}`;
    this.#socketPath = socketPath;
    this.#kept = new KeptRelay(network, { onPressure: () => this.#onPressure() });
    this.#relay = this.#kept.relay;
  }

  attach(): void {
    try {
      this.#kept.connect(this.#socketPath);
    } catch (cause) {
      throw new RomulusError('HV_START', `no QEMU listens on ${this.#socketPath}`, {
        hint: `start it with -netdev stream,server=on,addr.type=unix,addr.path=${this.#socketPath}`,
        cause,
      });
    }
  }

  seal(epoch: Epoch): void {
    this.#relay.seal(epoch);
  }

  release(epoch: Epoch, permitUntilMs: number): void {
    this.#relay.release(epoch, permitUntilMs);
  }

  openUnprotected(): void {
    this.#relay.open();
  }

  close(): void {
    this.#relay.shut();
  }

  discard(): void {
    this.#relay.shut();
    this.#relay.discard();
  }

  held(): Held {
    const { heldPackets, heldBytes, oldestHeldMs } = this.#relay.counts();
    return { packets: heldPackets, bytes: heldBytes, oldestMs: oldestHeldMs };
  }

  /** What the relay moved and refused so far, for tests and benchmarks. */
  counts(): ReturnType<Relay['counts']> {
    return this.#relay.counts();
  }

  onPressure(listener: () => void): void {
    this.#onPressure = listener;
  }

  detach(): void {
    this.#kept.end();
  }
}
