/** The hypervisor of a standby: made ready in advance beside the copying, kept ready, and started when its time comes. */

import { rmSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../shared/log.ts';
import type { VmSpec } from '../shared/vm.ts';
import type { Target } from './hypervisor/target.ts';
import type { StandbyImage } from './image/standby-image.ts';
import { localNetworks, StandbyNetwork } from './network.ts';

/** The standby hypervisor is looked at this often; one that died is made ready again. */
const CHECK_MS = 1000;

export interface ReadyGuestOptions {
  vm: string;
  runDir: string;
  image: StandbyImage;
  /** Paths that differ on this host from those the primary named. */
  overrides: Partial<VmSpec>;
  log: Logger;
  /** It could not be made ready. */
  onFailed(error: unknown): void;
  /** False while it must be left alone, as during a promotion. */
  mayMend(): boolean;
}

export class ReadyGuest {
  readonly #options: ReadyGuestOptions;
  readonly #network: StandbyNetwork;
  #target: Target | undefined;
  #preparing: Promise<void> = Promise.resolve();
  #check: NodeJS.Timeout | undefined;

  constructor(options: ReadyGuestOptions) {
    this.#options = options;
    this.#network = new StandbyNetwork(options.runDir, options.log);
  }

  /** The description the guest runs under on this host. */
  localSpec(spec: VmSpec): VmSpec {
    const { attachQmp: _, serialLog: __, ...portable } = spec;
    const { overrides, runDir } = this.#options;
    const networks = spec.networks && localNetworks(spec.networks, overrides.networks);
    return {
      ...portable,
      serialLog: join(runDir, 'serial.log'),
      ...overrides,
      ...(networks && { networks }),
    };
  }

  /** What the guest runs on; kept if there is one already. */
  use(target: Target): void {
    this.#target ??= target;
  }

  /** Makes the hypervisor ready beside the copying; ready() tells how it went. */
  prepare(spec: VmSpec): void {
    const { runDir, image, onFailed } = this.#options;
    const target = this.#target;
    if (target === undefined) return;
    const local = this.localSpec(spec);
    this.#preparing = mkdir(runDir, { recursive: true, mode: 0o700 }).then(() => {
      this.#network.prepare(local);
      return target.prepare(local, { imagePath: image.ramPath, runDir, image });
    });
    this.#preparing.catch(onFailed);
    this.#check ??= setInterval(() => void this.#mend(spec), CHECK_MS);
  }

  /** Resolves when the standby hypervisor is ready; rejects with why it is not. */
  ready(): Promise<void> {
    return this.#preparing;
  }

  /** Lets the guest run from its image and this device state; its output leaves at once. */
  async start(statePath: string): Promise<void> {
    await this.#target?.start(statePath);
    this.#network.open();
  }

  /** What an earlier run of the agent left; the output of a guest that runs leaves again. */
  async takeUp(spec: VmSpec): Promise<'gone' | 'waiting' | 'running'> {
    const { runDir, image } = this.#options;
    const local = this.localSpec(spec);
    const found = (await this.#target?.takeUp(local, { imagePath: image.ramPath, runDir })) ?? 'gone';
    if (found !== 'gone') this.#network.prepare(local);
    if (found === 'running') this.#network.open();
    return found;
  }

  /** Ends the hypervisor, which may be a guest that runs no longer by right. */
  async stop(): Promise<void> {
    await this.#preparing.catch(() => {}); // how it ended was reported when it did
    await this.#target?.stop();
  }

  /** Ends it and removes what it left. */
  async discard(): Promise<void> {
    clearInterval(this.#check);
    this.#check = undefined;
    await this.stop();
    this.#network.close();
    this.#target = undefined;
    rmSync(this.#options.runDir, { recursive: true, force: true });
  }

  /** Silences the guest, as when it is fenced. */
  silence(): void {
    this.#network.close();
  }

  /** Lets go, at the agent's end or for the next to protect it; hypervisor or guest stays. */
  async release(): Promise<void> {
    clearInterval(this.#check);
    this.#check = undefined;
    await this.#preparing.catch(() => {}); // how it ended was reported when it did
    await this.#target?.release?.();
    this.#network.close();
  }

  async #mend(spec: VmSpec): Promise<void> {
    if (!this.#options.mayMend()) return;
    const prepared = await this.#preparing.then(
      () => true,
      () => false,
    );
    if (prepared && (await this.#target?.alive())) return;
    if (!this.#options.mayMend()) return;
    this.#options.log.warn({ vm: this.#options.vm }, 'the standby hypervisor died; making it ready again');
    this.prepare(spec);
  }
}
