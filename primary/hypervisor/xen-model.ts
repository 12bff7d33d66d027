/** The device model (QEMU) of an HVM guest, as libxl started it: stopped, saved and let go on with the guest, over QMP. */

import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RomulusError } from '../../shared/errors.ts';
import { runningModelVersion } from '../../shared/hypervisor/qemu-version.ts';
import { QmpClient } from '../../shared/hypervisor/qmp.ts';

/** libxl gives a device model as long to start. */
const ANSWER_LIMIT_MS = 60_000;
/** Devices keep registers and queues here; their memory is the guest's. A model with some NICs, USB and VGA has 100 kB. */
export const MAX_MODEL_BYTES = 2 * 1024 * 1024;

export class DeviceModel {
  /** "qemu 7.2.22/xen" */
  readonly version: string;
  readonly #qmp: QmpClient;
  readonly #savePath: string;

  private constructor(version: string, qmp: QmpClient, savePath: string) {
    this.version = version;
    this.#qmp = qmp;
    this.#savePath = savePath;
  }

  /**
   * Connects to the model of a domain, lets it go on if a killed predecessor left it stopped, and has it report from now on
   * which pages it writes: Xen's dirty log does not see that by itself. `xenRunDir` is where libxl puts sockets.
   */
  static async attach(domid: number, xenRunDir = '/run/xen'): Promise<DeviceModel> {
    // A monitor serves one client. The other one, qmp-libxl, is for xl, which must find it free; this one is for xentop.
    const qmp = await QmpClient.connect(join(xenRunDir, `qmp-libxenstat-${domid}`), {
      timeoutMs: ANSWER_LIMIT_MS,
    });
    try {
      const savePath = join(xenRunDir, `romulus-model-${domid}`);
      // QEMU keeps the mode of a file that is there.
      await writeFile(savePath, '', { mode: 0o600 });
      const model = new DeviceModel(await runningModelVersion(qmp), qmp, savePath);
      await model.goOn();
      await model.#logDirty(true);
      return model;
    } catch (thrown) {
      qmp.close();
      throw thrown;
    }
  }

  /** Stops it, drained of what was under way, and returns its state. The guest must be suspended: its accesses find nobody. */
  async save(): Promise<Buffer> {
    await this.#execute('stop');
    // Not live: it goes on here, so it keeps its locks on disk images.
    await this.#execute('xen-save-devices-state', { filename: this.#savePath, live: false });
    const { size } = await stat(this.#savePath);
    if (size > MAX_MODEL_BYTES)
      throw new RomulusError(
        'HV_UNSUPPORTED',
        `the state of its device model has ${size} bytes, over the limit of ${MAX_MODEL_BYTES}`,
        { hint: 'remove devices with large state from the guest' },
      );
    return readFile(this.#savePath);
  }

  /** Before the guest itself goes on. One that runs stays as it is. */
  async goOn(): Promise<void> {
    await this.#execute('cont');
  }

  /** Lets go of a model that runs, which then no longer reports what it writes. */
  async detach(): Promise<void> {
    await this.#logDirty(false).catch(() => undefined); // it may be gone, and nobody reads the log any more
    this.#qmp.close();
    await rm(this.#savePath, { force: true });
  }

  #logDirty(enable: boolean): Promise<void> {
    return this.#execute('xen-set-global-dirty-log', { enable });
  }

  async #execute(command: string, args?: object): Promise<void> {
    await this.#qmp.execute(command, args, ANSWER_LIMIT_MS);
  }
}

/** libxl's configuration of a domain, as far as it says what stands behind its devices. */
interface DomainConfig {
  c_info?: { type?: string };
  b_info?: Partial<
    Record<
      'device_model' | 'device_model_version' | 'device_model_stubdomain' | 'dm_restrict',
      string | boolean
    >
  >;
  pcidevs?: unknown[];
  nics?: { nictype?: string }[];
}

/** Whether a domain of this configuration has a device model. HV_UNSUPPORTED for a guest that cannot be protected. */
export function hasDeviceModel(config: string, name: string): boolean {
  const { c_info, b_info, pcidevs = [], nics = [] } = JSON.parse(config) as DomainConfig;
  if (c_info?.type === 'pvh') return false;
  const refuse = (what: string, hint: string): never => {
    throw new RomulusError('HV_UNSUPPORTED', `domain ${name} ${what}`, { hint });
  };
  if (c_info?.type !== 'hvm')
    refuse(
      `is of type ${c_info?.type ?? 'unknown'}, not PVH or HVM`,
      'set type="pvh" in its configuration and start it anew',
    );
  const on = (key: 'device_model_stubdomain' | 'dm_restrict'): boolean =>
    /^true$/i.test(String(b_info?.[key]));
  if (b_info?.device_model_version === 'qemu_xen_traditional')
    refuse(
      'has the device model qemu-xen-traditional',
      'set device_model_version="qemu-xen" and start it anew',
    );
  if (typeof b_info?.device_model === 'string')
    refuse('has a device model of its own', 'remove device_model_override= and start it anew');
  if (on('device_model_stubdomain'))
    refuse(
      'has its device model in a stub domain',
      'set device_model_stubdomain_override=0 and start it anew',
    );
  if (on('dm_restrict'))
    refuse('has a device model without the right to write files', 'set dm_restrict=0 and start it anew');
  if (pcidevs.length > 0)
    refuse('has devices of this host passed through', 'remove pci= from its configuration and start it anew');
  // Its output would not come from the vif that the gate holds.
  if (nics.some(({ nictype }) => nictype !== 'vif'))
    refuse('has an emulated network card', 'write vif=["type=vif,…"] in its configuration and start it anew');
  return true;
}
