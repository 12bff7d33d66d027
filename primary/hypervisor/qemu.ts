/** Source for QEMU guests: RAM mapped from QEMU's own shared memory, dirty pages from the kernel, the rest by QMP. */

import { readFileSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { type DirtyBitmap, engine, type Memory, type PagemapScan } from '../../native/index.ts';
import { RomulusError } from '../../shared/errors.ts';
import { isAlive, killQemu } from '../../shared/hypervisor/qemu-process.ts';
import { runningVersion } from '../../shared/hypervisor/qemu-version.ts';
import type { QmpClient, QmpEvent } from '../../shared/hypervisor/qmp.ts';
import { MAX_STATE_BYTES } from '../../shared/limits.ts';
import { type Geometry, PAGE_BYTES, type VmSpec } from '../../shared/vm.ts';
import { type AttachedQemu, attachQemu, type QemuPlace } from './qemu-attach.ts';
import { dirtyLogFailure, findGuestRam, type GuestRam } from './qemu-ram.ts';
import type { DirtyTracking, GuestState, Source } from './source.ts';

const REGISTRATION_TIMEOUT_MS = 2000;
/** A guest being fenced must be still by then, or its QEMU is killed. */
const FENCE_TIMEOUT_MS = 2000;

/** What becomes of QEMU's run states (`query-status`); all others are 'paused'. */
const STATES: Record<string, GuestState> = {
  running: 'running',
  shutdown: 'shutdown',
  'guest-panicked': 'panicked',
  // KVM could not go on with it: the hypervisor's failure, not the guest's, and no `cont` helps.
  'internal-error': 'gone',
};
const ENDS: readonly GuestState[] = ['shutdown', 'panicked', 'gone'];

export class QemuSource implements Source {
  readonly kind = 'qemu';
  readonly #spec: VmSpec;
  readonly #place: QemuPlace;
  #attached: AttachedQemu | undefined;
  #geometry: Geometry | undefined;
  #memory: Memory | undefined;
  #scan: PagemapScan | undefined;
  #trackingReason: string | undefined;
  #allDirty = true;
  #paused = false;
  #end: GuestState | undefined;
  readonly #listeners: ((state: GuestState) => void)[] = [];

  constructor(spec: VmSpec, place: QemuPlace) {
    this.#spec = spec;
    this.#place = place;
  }

  get geometry(): Geometry {
    return needAttached(this.#geometry);
  }

  get memory(): Memory {
    return needAttached(this.#memory);
  }

  get tracking(): DirtyTracking {
    return this.#scan ? 'pagemap-scan' : 'full-compare';
  }

  /** Why every page is compared each epoch; undefined when the kernel names the dirty ones. */
  get trackingReason(): string | undefined {
    return this.#trackingReason;
  }

  /** Process id of QEMU, valid after attach(). */
  get pid(): number {
    return needAttached(this.#attached).process.pid;
  }

  /** False for a guest that would stay stopped if this agent died in the middle of a checkpoint. */
  get kept(): boolean {
    return this.#attached?.keeper?.connected ?? false;
  }

  async attach({ mayStart = true } = {}): Promise<void> {
    const attached = await attachQemu(this.#spec, this.#place, mayStart);
    this.#attached = attached;
    const { qmp, process } = attached;
    try {
      qmp.on('event', (event) => this.#onEvent(event));
      qmp.on('close', () => this.#onEnd('gone'));
      const hypervisor = await runningVersion(qmp);
      const ram = await findGuestRam(qmp, process.pid);
      const { arch } = await qmp.execute<{ arch: string }>('query-target');
      const cpus = (await qmp.execute<unknown[]>('query-cpus-fast')).length;
      this.#geometry = { arch, ramBytes: ram.sizeBytes, cpus, hypervisor };
      this.#memory = engine().openMemory(ram.path, { sizeBytes: ram.sizeBytes });
      await this.#startTracking(ram);
      await this.#continueLeftPaused(qmp, attached.fenced);
    } catch (error) {
      await this.#letGo();
      throw error;
    }
  }

  pause(): Promise<void> {
    const { qmp, keeper } = needAttached(this.#attached);
    this.#paused = true;
    // Not awaited: a write this short reaches the kernel at once, and so before the command behind it.
    void keeper?.say('P');
    return qmp.execute<void>('stop');
  }

  async takeDirty(into: DirtyBitmap): Promise<number> {
    const before = into.count();
    if (this.#scan) {
      try {
        this.#scan.take(into);
      } catch (cause) {
        throw new RomulusError('HV_GUEST_GONE', `cannot read the dirty pages: ${(cause as Error).message}`, {
          cause,
        });
      }
    }
    if (this.#allDirty || !this.#scan) into.setAll();
    this.#allDirty = false;
    return into.count() - before;
  }

  async deviceState(): Promise<Buffer> {
    const { qmp, files } = needAttached(this.#attached);
    await qmp.execute('xen-save-devices-state', { filename: files.state, live: true });
    const { size } = statSync(files.state);
    if (size > MAX_STATE_BYTES) {
      throw new RomulusError(
        'HV_PROTOCOL',
        `device state of ${size} bytes, at most ${MAX_STATE_BYTES} are taken`,
        {
          hint: 'remove devices from the guest (extraArgs)',
        },
      );
    }
    return readFileSync(files.state); // the guest stands still: 32 KiB from tmpfs cost less than a turn of the event loop
  }

  async resume(): Promise<void> {
    const attached = needAttached(this.#attached);
    if (attached.fenced)
      throw new RomulusError('TERM_STALE', `${this.#spec.name} is fenced`, { hint: 'romulus status' });
    // Behind a save that is under way: the monitor takes one command after the other.
    try {
      await attached.qmp.execute('cont');
    } catch (thrown) {
      await this.#lookForEnd();
      throw thrown;
    }
    this.#paused = false;
    await attached.keeper?.say('R');
  }

  async fence(): Promise<void> {
    const attached = needAttached(this.#attached);
    attached.fenced = true;
    const mark = await open(attached.files.fenced, 'w', 0o600);
    await mark.sync();
    await mark.close();
    await attached.keeper?.say('F');
    try {
      await attached.qmp.execute('stop', undefined, FENCE_TIMEOUT_MS);
    } catch {
      await killQemu(attached.process);
    }
  }

  async guestState(): Promise<GuestState> {
    const { qmp, process } = needAttached(this.#attached);
    if (this.#end) return this.#end;
    if (!(await isAlive(process))) return 'gone';
    const { status } = await qmp.execute<{ status: string }>('query-status');
    return STATES[status] ?? 'paused';
  }

  onGuestEnd(listener: (state: GuestState) => void): void {
    this.#listeners.push(listener);
  }

  async detach(): Promise<void> {
    if (this.#paused && !this.#attached?.fenced && !this.#end) await this.resume();
    await this.#letGo();
  }

  /** Arms the write protection with a first scan, whose answer (every page) takeDirty() gives anyway. */
  async #startTracking(ram: GuestRam): Promise<void> {
    const { process, dirtyLog, preloaded } = needAttached(this.#attached);
    this.#allDirty = true;
    this.#trackingReason = engine().pagemapScanSupported()
      ? await dirtyLogFailure(process.pid, ram, dirtyLog, preloaded ? REGISTRATION_TIMEOUT_MS : 0)
      : 'this kernel has no PAGEMAP_SCAN (Linux 6.7 or later has)';
    if (this.#trackingReason !== undefined) return;
    this.#scan = engine().openPagemapScan(process.pid, ram.address, ram.sizeBytes);
    this.#scan.take(engine().createBitmap(ram.sizeBytes / PAGE_BYTES));
  }

  async #continueLeftPaused(qmp: QmpClient, fenced: boolean): Promise<void> {
    const { status } = await qmp.execute<{ status: string }>('query-status');
    if (status === 'inmigrate') {
      throw new RomulusError('HV_START', `${this.#spec.name} is a standby that was not started`, {
        hint: 'romulus failover',
      });
    }
    if (fenced) await qmp.execute('stop');
    else if ((STATES[status] ?? 'paused') === 'paused') await qmp.execute('cont');
  }

  /** RESET is no end: the guest boots anew in the same QEMU, and its writes are noted as any other's. */
  #onEvent({ event, data }: QmpEvent): void {
    if (event === 'SHUTDOWN') this.#onEnd(data.guest === true ? 'shutdown' : 'gone');
    else if (event === 'GUEST_PANICKED') this.#onEnd('panicked');
    // Of an internal error nothing else tells; if QEMU does not answer, its closed connection tells.
    else if (event === 'STOP' && !this.#paused) this.#lookForEnd().catch(() => {});
  }

  async #lookForEnd(): Promise<void> {
    if (this.#attached === undefined) return;
    const state = await this.guestState();
    if (ENDS.includes(state)) this.#onEnd(state);
  }

  #onEnd(state: GuestState): void {
    if (this.#end || this.#attached === undefined) return;
    this.#end = state;
    for (const listener of this.#listeners) listener(state);
  }

  async #letGo(): Promise<void> {
    const attached = this.#attached;
    this.#attached = undefined;
    this.#scan?.close();
    this.#scan = undefined;
    this.#memory?.close();
    this.#memory = undefined;
    attached?.qmp.close();
    await attached?.keeper?.close();
  }
}

function needAttached<T>(value: T | undefined): T {
  if (value === undefined) throw new RomulusError('INTERNAL', 'the guest is not attached');
  return value;
}
