/** What of a domain's devices must be described before it is protected. */

import { describe, expect, it } from 'vitest';
import { checkDevices } from '../../shared/hypervisor/xen-devices.ts';

const MAC = '00:16:3e:00:00:09';
const spec = { name: 'web', hypervisor: 'xen', memoryBytes: 2 ** 27, cpus: 1 } as const;
const network = { tap: 'vif-web', mac: MAC };
const nic = { mac: MAC, ifname: 'vif-web' };
const disk = { pdev_path: '/dev/romulus/web/disk', vdev: 'xvda' };
const config = (devices: object) => JSON.stringify({ c_info: { type: 'pvh' }, ...devices });

describe("a Xen domain's devices", () => {
  it('are taken as they are described, and none where none are', () => {
    checkDevices(config({}), spec);
    checkDevices(config({ nics: [nic], disks: [disk] }), {
      ...spec,
      networks: [network],
      disk: '/var/lib/web.img',
    });
  });

  it.each([
    ['a vif that nobody described', { nics: [nic] }, {}, /would pass the gate/],
    ['a vif of another name', { nics: [{ mac: MAC }] }, { networks: [network] }, /without a name.*vif-web/],
    ['a network it does not have', {}, { networks: [network] }, /has 0 vifs, its description 1/],
    [
      'a disk past the replicated one',
      { disks: [{ pdev_path: '/dev/vg/web' }] },
      { disk: '/a' },
      /replicated/,
    ],
  ])('are refused with %s', (_, devices, described, said) => {
    expect(() => checkDevices(config(devices), { ...spec, ...described })).toThrow(said);
  });
});
