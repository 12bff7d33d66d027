/** Network devices from agent.yaml to QEMU's arguments and over the wire to the backup. */

import { describe, expect, it } from 'vitest';
import { localNetworks } from '../../backup/network.ts';
import { parseConfig } from '../../shared/config.ts';
import { qemuArgs, qemuFiles } from '../../shared/hypervisor/qemu-args.ts';
import { ifbName } from '../../shared/net/ifb.ts';
import type { NetworkSpec } from '../../shared/vm.ts';
import { parseSpec } from '../../shared/wire/messages.ts';

const MAC = '52:54:00:12:34:56';
const device: NetworkSpec = { tap: 'tap0', bridge: 'br0', mac: MAC, addresses: ['192.0.2.10'] };
const spec = { name: 'web', hypervisor: 'qemu', memoryBytes: 2 ** 28, cpus: 1, networks: [device] } as const;

const yaml = (network: string) => `vms: {web: {memory: 256MiB, networks: [${network}]}}`;

describe('networks', () => {
  it('are read from the config, with the MAC in lower case', () => {
    const text = yaml('{tap: tap0, bridge: br0, mac: "52:54:00:12:34:5A"}');
    const { spec: read } = parseConfig(text, 'agent.yaml').vms.web ?? {};
    expect(read?.networks).toEqual([{ tap: 'tap0', bridge: 'br0', mac: '52:54:00:12:34:5a' }]);
  });

  it('are refused by name where something is wrong', () => {
    expect(() => parseConfig(yaml('{tap: tap0, mac: "01:00:5e:00:00:01"}'), 'a')).toThrow(/mac.*one device/);
    expect(() => parseConfig(yaml(`{tap: "a/b", mac: "${MAC}"}`), 'a')).toThrow(/tap.*interface/);
    expect(() => parseConfig(yaml(`{tpa: x, tap: t, mac: "${MAC}"}`), 'a')).toThrow(/did you mean "tap"/);
  });

  it('travel to the backup whole, and malformed ones are refused', () => {
    const wire = JSON.parse(JSON.stringify(spec));
    expect(parseSpec(wire)).toEqual(spec);
    for (const bad of [
      { ...device, mac: 'x' },
      { ...device, tap: '../t' },
      { ...device, addresses: ['x'] },
      7,
    ]) {
      expect(() => parseSpec({ ...wire, networks: [bad] })).toThrow('malformed hello');
    }
    expect(() => parseSpec({ ...wire, networks: Array(9).fill(device) })).toThrow('"networks"');
  });

  it('keep the MACs of the primary and take the taps of this host', () => {
    const local = [{ tap: 'other', mac: '52:54:00:00:00:01' }];
    expect(localNetworks([device], local)).toEqual([{ tap: 'other', mac: MAC, addresses: ['192.0.2.10'] }]);
    expect(localNetworks([device])).toEqual([device]);
  });

  it('become a listening stream netdev each, so that the next agent can connect again', () => {
    const args = qemuArgs({ ...spec, networks: [device] }, { files: qemuFiles('/run/r/web') }).join(' ');
    expect(args).toContain('-netdev stream,id=net0,server=on,addr.type=unix,addr.path=/run/r/web/net0.sock');
    expect(args).toContain(`-device virtio-net-pci,id=nic0,netdev=net0,mac=${MAC},romfile=`);
  });

  it('have an IFB device each for the kernel gate, also where names are too long to differ in their beginning', () => {
    expect(ifbName('vif1.0')).toBe('ifb-vif1.0');
    const long = ['vif-database-a1', 'vif-database-a2'].map(ifbName);
    expect(new Set(long).size).toBe(2);
    for (const name of long) expect(name.length).toBeLessThanOrEqual(15);
  });
});
