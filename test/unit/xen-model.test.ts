/** The device model's part of an epoch, with a real QEMU in its place: the commands are in every build. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceModel, hasDeviceModel, MAX_MODEL_BYTES } from '../../primary/hypervisor/xen-model.ts';
import { QmpClient } from '../../shared/hypervisor/qmp.ts';

const DOMID = 7;
/** "QEVM", with which every state of QEMU's begins. */
const MAGIC = '5145564d';

let dir = '';
let qemu: ChildProcess;
let watcher: QmpClient;

const monitor = (name: string): string[] => [
  ...['-chardev', `socket,id=${name},path=${dir}/${name},server=on,wait=off`],
  ...['-mon', `chardev=${name},mode=control`],
];

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'xen-model-'));
  const args = ['-machine', 'pc,accel=tcg', '-nodefaults', '-display', 'none', '-m', '16'];
  args.push('-device', 'VGA', ...monitor(`qmp-libxenstat-${DOMID}`), ...monitor('watcher'));
  qemu = spawn('qemu-system-x86_64', args, { stdio: 'ignore' });
  watcher = await QmpClient.connect(join(dir, 'watcher'), { timeoutMs: 30_000 });
});

afterEach(async () => {
  watcher.close();
  qemu.kill('SIGKILL');
  await once(qemu, 'exit');
  rmSync(dir, { recursive: true });
});

const runs = async (): Promise<boolean> =>
  (await watcher.execute<{ running: boolean }>('query-status')).running;

describe('the device model of an HVM guest', () => {
  it('stands still from its state until the guest goes on', async () => {
    const model = await DeviceModel.attach(DOMID, dir);
    expect(model.version).toMatch(/^qemu \d+\.\d+\.\d+\/xen$/);
    const state = await model.save();
    expect(state.subarray(0, 4).toString('hex')).toBe(MAGIC);
    expect(state.length).toBeLessThan(MAX_MODEL_BYTES);
    expect(await runs()).toBe(false);
    await model.goOn();
    expect(await runs()).toBe(true);
    await model.detach();
  });

  it('goes on after an agent that was killed in the middle of an epoch', async () => {
    await watcher.execute('stop');
    const model = await DeviceModel.attach(DOMID, dir);
    expect(await runs()).toBe(true);
    await model.detach();
  });

  it('can be taken up again, and leaves nothing behind that holds what was in the guest', async () => {
    const path = join(dir, `romulus-model-${DOMID}`);
    for (let turn = 0; turn < 2; turn++) {
      const model = await DeviceModel.attach(DOMID, dir);
      await model.save();
      expect(statSync(path).mode & 0o777).toBe(0o600);
      await model.goOn();
      await model.detach();
      expect(existsSync(path)).toBe(false);
    }
  });
});

describe('a domain of Xen', () => {
  const config = (type: string, b_info: object = {}, more: object = {}): string =>
    JSON.stringify({ c_info: { type }, b_info, ...more });

  it('has a device model if it is HVM, none if it is PVH', () => {
    expect(
      hasDeviceModel(config('hvm', { device_model_version: 'qemu_xen', dm_restrict: 'False' }), 'g'),
    ).toBe(true);
    expect(hasDeviceModel(config('pvh'), 'g')).toBe(false);
  });

  it.each([
    ['PV', config('pv'), /of type pv/],
    [
      'run by the device model of old',
      config('hvm', { device_model_version: 'qemu_xen_traditional' }),
      /traditional/,
    ],
    ['run by another model', config('hvm', { device_model: '/opt/qemu' }), /of its own/],
    ['run from a stub domain', config('hvm', { device_model_stubdomain: 'True' }), /stub domain/],
    ['run by a model that may write no file', config('hvm', { dm_restrict: 'True' }), /write files/],
    [
      'shown an emulated network card',
      config('hvm', {}, { nics: [{ nictype: 'vif_ioemu' }] }),
      /network card/,
    ],
    ['with devices of the host', config('hvm', {}, { pcidevs: [{}] }), /passed through/],
  ])('is refused when it is %s', (_, refused, why) => {
    expect(() => hasDeviceModel(refused, 'g')).toThrow(why);
  });
});
