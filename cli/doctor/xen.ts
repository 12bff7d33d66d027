/** Checks of a Xen host: the release, the libraries and the addon for exactly that release, HAP, memory left for standbys. */

import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { formatBytes } from '../../shared/config.ts';
import { installedModelVersion } from '../../shared/hypervisor/qemu-version.ts';
import { parseHostInfo, xlWithin } from '../../shared/hypervisor/xl.ts';
import { type Finding, finding } from './finding.ts';
import { hasModule } from './kernel-module.ts';

/** The release whose stream and interfaces this build was written for and tried on (docs/xen.md). */
const XEN_RELEASE = '4.17';
const MiB = 1024 * 1024;
/** Less is of no use to any guest. */
const MIN_FREE_BYTES = 128 * MiB;
const XL_TIMEOUT_MS = 10_000;

/** What this machine says of itself. */
export interface XenFacts {
  /** Whether this system is the control domain of a Xen host. */
  dom0: boolean;
  /** What `xl info` printed; undefined if it failed. */
  info: string | undefined;
  /** Whether libxenctrl of a release is installed. */
  hasLibrary(release: string): boolean;
  hasAddon: boolean;
  /** The device model for HVM guests ("qemu 7.2.22/xen"), if one is installed. */
  deviceModel: string | undefined;
  /** Whether this kernel has a client for the disks that the agent serves. */
  hasNbd: boolean;
}

export async function xenFacts(): Promise<XenFacts> {
  const dom0 = readIfThere('/proc/xen/capabilities').includes('control_d');
  return {
    dom0,
    info: dom0 ? await xlWithin(XL_TIMEOUT_MS, 'info').catch(() => undefined) : undefined,
    hasLibrary: (release) =>
      ['/usr/lib/x86_64-linux-gnu', '/usr/lib64', '/usr/local/lib'].some((dir) =>
        existsSync(`${dir}/libxenctrl.so.${release}`),
      ),
    hasAddon: addonIsThere(),
    deviceModel: await installedModelVersion().catch(() => undefined),
    hasNbd: hasModule('nbd'),
  };
}

/** One line on a machine that is no Xen host; all of them in a dom0. */
export function checkXen(facts: XenFacts): Finding[] {
  if (!facts.dom0) {
    const texts = { found: 'not a Xen host', needed: 'only for guests of Xen', fix: '' };
    return [finding('xen', 'Xen', 'info', texts)];
  }
  const { info } = facts;
  if (info === undefined) {
    const texts = {
      found: 'xl info fails',
      needed: 'for guests of Xen',
      fix: '/etc/init.d/xen start && xl info',
    };
    return [finding('xen', 'Xen', 'missing', texts)];
  }
  const { release, freeBytes, capabilities } = parseHostInfo(info);
  return [
    finding('xen', 'Xen', release === XEN_RELEASE ? 'ok' : 'missing', {
      found: release,
      needed: XEN_RELEASE,
      fix: `apt-get install -y xen-hypervisor-${XEN_RELEASE}-amd64 xen-utils-${XEN_RELEASE} && reboot`,
    }),
    finding('xen-library', 'libraries of this Xen', facts.hasLibrary(release) ? 'ok' : 'missing', {
      found: facts.hasLibrary(release) ? `libxenctrl.so.${release}` : 'none of this release',
      needed: `libxenctrl.so.${release}; its interface changes with each release`,
      fix: 'apt-get install -y libxen-dev',
    }),
    finding('xen-addon', 'Xen driver', facts.hasAddon ? 'ok' : 'missing', {
      found: facts.hasAddon ? 'built' : 'not built',
      needed: 'built on a host with libxen-dev',
      fix: 'npm run build:xen',
    }),
    finding('xen-hap', 'hardware-assisted paging', capabilities.includes('hap') ? 'ok' : 'absent', {
      found: capabilities.join(' '),
      needed: 'hap in virt_caps; without it dirty pages are tracked by shadow paging, slower',
      fix: 'enable nested paging (EPT, NPT) in the firmware; remove hap=0 from the command line of Xen',
    }),
    finding('xen-model', 'device model', facts.deviceModel === undefined ? 'absent' : 'ok', {
      found: facts.deviceModel ?? 'none',
      needed: 'only for HVM guests: the same QEMU series on both hosts',
      fix: 'apt-get install -y qemu-system-xen',
    }),
    finding('xen-disk', 'disks of Xen guests', facts.hasNbd ? 'ok' : 'absent', {
      found: facts.hasNbd ? 'nbd' : 'no module nbd',
      needed: "the kernel's NBD client; for guests with disk:",
      fix: "modprobe nbd, on a kernel that has it, as Debian's have",
    }),
    finding('xen-memory', 'memory for standbys', freeBytes >= MIN_FREE_BYTES ? 'ok' : 'missing', {
      found: `${formatBytes(freeBytes)} free`,
      needed: 'as much as the guests that may go on here',
      fix: 'xl mem-set Domain-0 SMALLER',
    }),
  ];
}

function addonIsThere(): boolean {
  try {
    return existsSync(createRequire(import.meta.url).resolve('#xen'));
  } catch {
    return false; // not built: the import of package.json leads nowhere
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
