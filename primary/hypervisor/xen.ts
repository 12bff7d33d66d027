/** A running PVH or HVM guest of this Xen host as a source of checkpoints: log-dirty, cooperative suspend, standing map of its memory. */

import { type DirtyBitmap, engine, type Memory } from '../../native/index.ts';
import { type XenDomain, xenBinding } from '../../native/xen/index.ts';
import { RomulusError } from '../../shared/errors.ts';
import { checkDevices } from '../../shared/hypervisor/xen-devices.ts';
import { type ModelState, packXenState, type XenState } from '../../shared/hypervisor/xen-state.ts';
import { domainConfig, domainNumber, xl } from '../../shared/hypervisor/xl.ts';
import { type Geometry, PAGE_BYTES, type VmSpec } from '../../shared/vm.ts';
import type { GuestState, Source } from './source.ts';
import { guestStateOf, xenFailure } from './xen-failure.ts';
import { DeviceModel, hasDeviceModel } from './xen-model.ts';

/** libxl gives a guest as long to acknowledge a request to suspend. */
const SUSPEND_LIMIT_MS = 60_000;
/** How often we look whether the guest has ended by itself. */
const LOOK_EVERY_MS = 1_000;

export class XenSource implements Source {
  readonly kind = 'xen';
  readonly tracking = 'log-dirty';
  readonly #spec: VmSpec;
  readonly #endListeners: ((state: GuestState) => void)[] = [];
  #domain: XenDomain | undefined;
  #geometry: Geometry | undefined;
  #memory: Memory | undefined;
  #scratch: DirtyBitmap | undefined;
  /** The parts of the state that do not change from epoch to epoch. */
  #fixed: Pick<XenState, 'xenVersion' | 'config' | 'regions' | 'leaves' | 'msrs'> | undefined;
  #look: NodeJS.Timeout | undefined;
  #ended: GuestState | undefined;
  #saving: Promise<unknown> | undefined;
  /** Of an HVM guest: its device model, and the state that was taken of it at the last pause. */
  #model: DeviceModel | undefined;
  #modelState: ModelState | undefined;

  constructor(spec: VmSpec) {
    this.#spec = spec;
  }

  get geometry(): Geometry {
    return attached(this.#geometry);
  }

  get memory(): Memory {
    return attached(this.#memory);
  }

  async attach(): Promise<void> {
    const { name } = this.#spec;
    const domid = await domainNumber(name);
    if (domid === undefined)
      throw new RomulusError('VM_UNKNOWN', `this Xen host runs no domain ${name}`, {
        hint: `xl create /etc/xen/${name}.cfg`,
      });
    const config = await domainConfig(domid);
    checkDevices(config, this.#spec);
    // First the model, which must answer when openDomain() lets a guest go on that a killed predecessor left suspended.
    if (hasDeviceModel(config, name)) this.#model = await DeviceModel.attach(domid);
    const domain = await xenBinding()
      .openDomain(domid)
      .catch(async (thrown: unknown) => {
        await this.detach();
        return xenFailure(name)(thrown);
      });
    this.#domain = domain;
    const { leaves, msrs } = await domain.policies();
    this.#fixed = { xenVersion: domain.xenVersion, config, regions: domain.regions, leaves, msrs };
    this.#geometry = {
      arch: 'x86_64',
      ramBytes: domain.pages * PAGE_BYTES,
      cpus: domain.cpus,
      hypervisor: `xen ${domain.xenVersion}`,
      cpuPolicy: { leaves: leaves.toString('base64'), msrs: msrs.toString('base64') },
      ...(this.#model && { deviceModel: this.#model.version }),
    };
    this.#memory = engine().viewMemory(domain.address, domain.pages * PAGE_BYTES);
    this.#scratch = engine().createBitmap(domain.pages);
    this.#look = setInterval(() => void this.guestState(), LOOK_EVERY_MS);
    this.#look.unref();
  }

  /** From the moment the guest was seen suspended until Xen was asked to let it go on, at its last pause. */
  get downMs(): number {
    return attached(this.#domain).downMs;
  }

  async pause(): Promise<void> {
    const domain = attached(this.#domain);
    try {
      if (this.#model !== undefined) await this.#stopWithModel(domain, this.#model);
      await domain.suspend(SUSPEND_LIMIT_MS);
    } catch (error) {
      await this.guestState();
      xenFailure(this.#spec.name)(error);
    }
  }

  /** Only once the model stands still are pages and state of the guest final: until then it writes memory and raises interrupts. */
  async #stopWithModel(domain: XenDomain, model: DeviceModel): Promise<void> {
    await domain.halt(SUSPEND_LIMIT_MS);
    const [context, xenstore] = await Promise.all([model.save(), domain.modelStore()]);
    this.#modelState = { context, xenstore };
  }

  async takeDirty(into: DirtyBitmap): Promise<number> {
    const scratch = attached(this.#scratch);
    scratch.load(await attached(this.#domain).takeDirty().catch(xenFailure(this.#spec.name)));
    into.or(scratch);
    return scratch.count();
  }

  async deviceState(): Promise<Buffer> {
    const saving = attached(this.#domain).state().catch(xenFailure(this.#spec.name));
    this.#saving = saving;
    const model = this.#modelState;
    const cpu = await saving;
    return packXenState({ ...attached(this.#fixed), ...cpu, ...(model && { model }) });
  }

  async resume(): Promise<void> {
    await this.#saving?.catch(() => undefined); // whoever called deviceState() gets its error
    await this.#model?.goOn();
    await attached(this.#domain).resume().catch(xenFailure(this.#spec.name));
  }

  /** A pause by the toolstack outlives this agent, and whoever ends the suspend of a checkpoint does not end it. */
  async fence(): Promise<void> {
    await xl('pause', this.#spec.name);
  }

  async guestState(): Promise<GuestState> {
    if (this.#ended !== undefined) return this.#ended;
    const state = guestStateOf(
      await attached(this.#domain)
        .info()
        .catch(() => undefined),
    );
    if (state !== 'running' && state !== 'paused' && this.#ended === undefined) {
      this.#ended = state;
      clearInterval(this.#look);
      for (const listener of this.#endListeners) listener(state);
    }
    return state;
  }

  onGuestEnd(listener: (state: GuestState) => void): void {
    this.#endListeners.push(listener);
  }

  async detach(): Promise<void> {
    clearInterval(this.#look);
    const domain = this.#domain;
    this.#domain = undefined;
    this.#memory?.close();
    this.#memory = undefined;
    const model = this.#model;
    this.#model = undefined;
    // The guest runs on, whatever instant of an epoch we leave at; one that is up refuses to be resumed.
    await model?.goOn().catch(() => undefined); // a model that is gone has taken its guest with it
    if ((await domain?.info().catch(() => undefined))?.shutdown === 2) await domain?.resume();
    await model?.detach();
    await domain?.close();
  }
}

function attached<T>(value: T | undefined): T {
  if (value === undefined) throw new RomulusError('INTERNAL', 'the Xen source is not attached');
  return value;
}
