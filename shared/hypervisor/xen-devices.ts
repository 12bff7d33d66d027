/** Whether a Xen domain's network devices and disk are those of its description: what is not described would pass the output gate. */

import { kernelDiskPath } from '../disk/kernel-disk.ts';
import { RomulusError } from '../errors.ts';
import type { VmSpec } from '../vm.ts';

/** As far as we read libxl's JSON of a domain. */
interface Devices {
  nics?: { mac?: string; ifname?: string }[];
  disks?: { pdev_path?: string; vdev?: string }[];
}

/** HV_UNSUPPORTED with what to write where, unless they agree; `config` is libxl's JSON. */
export function checkDevices(config: string, spec: VmSpec): void {
  const { nics = [], disks = [] } = JSON.parse(config) as Devices;
  const networks = spec.networks ?? [];
  for (const [index, { mac = '', ifname }] of nics.entries()) {
    const network = networks.find((described) => described.mac === mac.toLowerCase());
    if (network !== undefined && network.tap === ifname) continue;
    throw new RomulusError(
      'HV_UNSUPPORTED',
      network === undefined
        ? `the output of vif ${index} (${mac}) of ${spec.name} would pass the gate: its description does not name it`
        : `vif ${index} of ${spec.name} is ${ifname ?? 'without a name'}, described as ${network.tap}`,
      {
        hint: `in xl's configuration: vif=["vifname=NAME,mac=${mac},bridge=…"]; in agent.yaml: networks: [{ tap: NAME, mac: "${mac}" }]`,
      },
    );
  }
  if (networks.length > nics.length)
    throw new RomulusError(
      'HV_UNSUPPORTED',
      `${spec.name} has ${nics.length} vifs, its description ${networks.length}`,
      { hint: 'take from networks: in agent.yaml what the domain does not have' },
    );
  if (spec.disk === undefined || disks.some(({ pdev_path }) => pdev_path === kernelDiskPath(spec.name)))
    return;
  throw new RomulusError('HV_UNSUPPORTED', `${spec.name} does not run on the disk that is replicated`, {
    hint: `in xl's configuration: disk=["phy:${kernelDiskPath(spec.name)},xvda,w"]`,
  });
}
