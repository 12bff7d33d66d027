/** What the roles of a guest on this host pass on to each other: the gates of its output, and its disk. */

import type { OutputGate } from '../../primary/output/gate.ts';
import { openGates } from '../../primary/output/open.ts';
import type { HostDisk } from '../../shared/disk/host-disk.ts';
import type { VmSpec } from '../../shared/vm.ts';
import { type HostParts, openHostDisk } from './roles.ts';

/** Both outlive protection: the relay is a guest's way to the world, and the server its way to its disk. */
export class GuestDevices {
  readonly #parts: HostParts;
  #gates: OutputGate[] | undefined;
  #disk: HostDisk | undefined;

  constructor(parts: HostParts) {
    this.#parts = parts;
  }

  /** Shut when they are new. */
  openGates(spec: VmSpec): OutputGate[] {
    this.#gates ??= openGates(spec, { runDir: this.#parts.config.runDir });
    return this.#gates;
  }

  dropGates(): void {
    for (const gate of this.#gates ?? []) gate.detach();
    this.#gates = undefined;
  }

  /** undefined for a guest without a replicated disk. */
  openDisk(spec: VmSpec, createBytes?: number): HostDisk | undefined {
    this.#disk ??= openHostDisk(this.#parts, spec, createBytes);
    return this.#disk;
  }

  /** Another host's guest writes it from now on. */
  yieldDisk(): void {
    this.#disk?.setWritable(false);
  }

  closeDisk(): void {
    this.#disk?.close();
    this.#disk = undefined;
  }

  /** No guest of this host uses it any more. */
  dropDisk(): void {
    this.#disk?.remove();
    this.#disk = undefined;
  }

  close(): void {
    this.dropGates();
    this.closeDisk();
  }
}
