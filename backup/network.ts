/** The network of a standby: taps ready and silent in advance, opened and announced when the guest is promoted. */

import { networkSocket, qemuFiles } from '../shared/hypervisor/qemu-args.ts';
import type { Logger } from '../shared/log.ts';
import { KeptRelay } from '../shared/net/relay.ts';
import type { NetworkSpec, VmSpec } from '../shared/vm.ts';
import { announce } from './announce.ts';
import { announceVif } from './vif.ts';

interface Port {
  network: NetworkSpec;
  port: KeptRelay;
}

export class StandbyNetwork {
  readonly #runDir: string;
  readonly #log: Logger;
  #ports: Port[] = [];
  /** A Xen guest's devices come with its domain. */
  #vifs: readonly NetworkSpec[] = [];
  #announcing: (() => void)[] = [];

  /** `runDir`: the folder of this guest's hypervisor. */
  constructor(runDir: string, log: Logger) {
    this.#runDir = runDir;
    this.#log = log;
  }

  /**
   * Opens the taps, shut: a bridge knows its new port long before the failover. PREREQUISITE when this host cannot. A Xen
   * guest's vifs come with its domain, when it goes on: until then there is nothing that could let anything out.
   */
  prepare(spec: VmSpec): void {
    if (spec.hypervisor === 'xen') this.#vifs = spec.networks ?? [];
    if (this.#ports.length > 0 || spec.hypervisor !== 'qemu') return;
    try {
      for (const network of spec.networks ?? []) this.#ports.push({ network, port: new KeptRelay(network) });
    } catch (thrown) {
      this.close();
      throw thrown;
    }
  }

  /**
   * The promoted guest runs: its output leaves at once, and its neighbours hear where it is. A device that fails is
   * logged, not thrown: a guest without it is better than no guest.
   */
  open(): void {
    for (const [index, { network, port }] of this.#ports.entries()) {
      try {
        port.connect(networkSocket(qemuFiles(this.#runDir), index));
        port.relay.open();
        this.#announcing.push(announce(port.relay, network));
      } catch (thrown) {
        this.#log.error({ err: thrown, tap: network.tap }, 'the promoted guest has no network on this tap');
      }
    }
    for (const network of this.#vifs) {
      try {
        this.#announcing.push(announceVif(network));
      } catch (thrown) {
        this.#log.warn({ err: thrown, vif: network.tap }, 'the promoted guest is not announced on this vif');
      }
    }
  }

  close(): void {
    for (const stop of this.#announcing) stop();
    for (const { port } of this.#ports) port.end();
    this.#announcing = [];
    this.#ports = [];
  }
}

/** The primary's devices on this host's taps: order and MACs are the primary's, taps and bridges this host's own if it names any. */
export function localNetworks(
  networks: readonly NetworkSpec[],
  local: readonly NetworkSpec[] = [],
): NetworkSpec[] {
  return networks.map(({ bridge, ...network }, index) => {
    const own = local[index];
    const { tap, bridge: place } = own ?? { tap: network.tap, bridge };
    return { ...network, tap, ...(place !== undefined && { bridge: place }) };
  });
}
