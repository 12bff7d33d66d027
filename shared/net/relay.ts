/** The native relay of one network device: opened with errors that say what to run, and connected for as long as QEMU is there. */

import { engine, type Relay } from '../../native/index.ts';
import { RomulusError } from '../errors.ts';
import { MAX_HELD_BYTES, MAX_HELD_PACKETS } from '../limits.ts';
import type { NetworkSpec } from '../vm.ts';

export interface RelayListeners {
  /** Half of a bound of held output is reached. */
  onPressure?(): void;
  /** QEMU is gone; a later connect() takes up the next one. */
  onDisconnected?(): void;
}

/** How often a lost connection to QEMU is tried again. */
const RECONNECT_MS = 200;

/** A relay that takes up its QEMU again whenever that hung up, or stopped speaking in frames. */
export class KeptRelay {
  readonly relay: Relay;
  #path: string | undefined;
  #retry: NodeJS.Timeout | undefined;

  /** As openRelay(). */
  constructor(network: NetworkSpec, listeners: Pick<RelayListeners, 'onPressure'> = {}) {
    this.relay = openRelay(network, { ...listeners, onDisconnected: () => this.#again() });
  }

  /** Throws when nobody listens at QEMU's socket now; from the first success on, the connection is kept. */
  connect(path: string): void {
    clearTimeout(this.#retry);
    this.relay.connect(path);
    this.#path = path;
  }

  end(): void {
    clearTimeout(this.#retry);
    this.#path = undefined;
    this.relay.end();
  }

  #again(): void {
    const path = this.#path;
    clearTimeout(this.#retry);
    if (path === undefined || this.relay.counts().connected) return;
    try {
      this.relay.connect(path);
    } catch {
      this.#retry = setTimeout(() => this.#again(), RECONNECT_MS).unref(); // its QEMU may be on its way
    }
  }
}

/** Shut, with the tap up and joined to its bridge, not yet connected to QEMU. PREREQUISITE when this host cannot. */
export function openRelay(network: NetworkSpec, listeners: RelayListeners = {}): Relay {
  const { tap, bridge } = network;
  try {
    return engine().openRelay({
      tap,
      ...(bridge !== undefined && { bridge }),
      maxHeldBytes: MAX_HELD_BYTES,
      maxHeldPackets: MAX_HELD_PACKETS,
      onEvent: (event) => (event === 'pressure' ? listeners.onPressure : listeners.onDisconnected)?.(),
    });
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new RomulusError('PREREQUISITE', `cannot use tap ${tap}: ${message}`, {
      hint: hintFor(code, network),
      cause,
    });
  }
}

function hintFor(code: string | undefined, { tap, bridge }: NetworkSpec): string {
  switch (code) {
    case 'ENODEV':
      return `ip link add ${bridge} type bridge && ip link set ${bridge} up`;
    case 'EBUSY':
      return `another process holds ${tap}: romulus list; give each guest a tap of its own`;
    case 'ENOENT':
      return 'modprobe tun';
    default:
      return 'run the agent as root, or with CAP_NET_ADMIN (see etc/romulus-agent.service)';
  }
}
