/** QEMU's version and accelerator: as it reports them, as geometry names it, and the oldest one that will do. */

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { RomulusError } from '../errors.ts';
import { kvmMissing } from './kvm.ts';
import { qemuBinary } from './qemu-args.ts';
import type { QmpClient } from './qmp.ts';

/** Debian 12's; older ones lack parts of what we use and were never tried. */
const OLDEST = { major: 7, minor: 2 };
const UPGRADE_HINT = 'install QEMU 7.2 or later (Debian 12: apt-get install qemu-system-x86)';

/** Where libxl has the device models of HVM guests: Debian's place, then Xen's own. */
const XEN_BINARIES = ['/usr/libexec/xen-qemu-system-i386', '/usr/lib/xen/bin/qemu-system-i386'];

/** "qemu 7.2.22/kvm", of a running QEMU. Refuses one too old, or without the commands we need, with HV_UNSUPPORTED. */
export async function runningVersion(qmp: QmpClient): Promise<string> {
  const version = await capableVersion(qmp, ['xen-save-devices-state', 'query-memdev']);
  const { enabled } = await qmp.execute<{ enabled: boolean }>('query-kvm');
  return `${version}/${enabled ? 'kvm' : 'tcg'}`;
}

/** The same of the installed binary, as it would run a guest on this host. */
export async function installedVersion(): Promise<string> {
  const version = await binaryVersion(qemuBinary());
  return `${version}/${kvmMissing() === undefined ? 'kvm' : 'tcg'}`;
}

/** "qemu 7.2.22/xen", of the running device model of a Xen guest; as runningVersion(). */
export async function runningModelVersion(qmp: QmpClient): Promise<string> {
  return `${await capableVersion(qmp, ['xen-save-devices-state', 'xen-set-global-dirty-log'])}/xen`;
}

/** The same of the one that would serve guests of this Xen host; undefined where none is installed. */
export async function installedModelVersion(): Promise<string | undefined> {
  for (const binary of XEN_BINARIES) if (existsSync(binary)) return `${await binaryVersion(binary)}/xen`;
  return undefined;
}

async function capableVersion(qmp: QmpClient, commands: string[]): Promise<string> {
  const { qemu } = await qmp.execute<{ qemu: { major: number; minor: number; micro: number } }>(
    'query-version',
  );
  const version = `qemu ${qemu.major}.${qemu.minor}.${qemu.micro}`;
  requireRecent(version);
  const known = await qmp.execute<{ name: string }[]>('query-commands');
  for (const needed of commands) {
    if (known.some(({ name }) => name === needed)) continue;
    throw new RomulusError('HV_UNSUPPORTED', `${version} was built without the command ${needed}`, {
      hint: UPGRADE_HINT,
    });
  }
  return version;
}

async function binaryVersion(binary: string): Promise<string> {
  const { stdout } = await promisify(execFile)(binary, ['--version']).catch((cause: Error) => {
    throw new RomulusError('PREREQUISITE', `cannot run ${binary}: ${cause.message}`, {
      hint: UPGRADE_HINT,
      cause,
    });
  });
  const version = `qemu ${/version (\d+\.\d+\.\d+)/.exec(stdout)?.[1] ?? 'unknown'}`;
  requireRecent(version);
  return version;
}

/**
 * Device state goes between equal major.minor versions only, the patch level does not matter; and not between KVM and
 * emulation, whose interrupt controllers and clocks are other devices.
 */
export function sameSeries(a: string, b: string): boolean {
  const series = (version: string) => {
    const parts = /^qemu (\d+\.\d+)[^/]*\/(\w+)$/.exec(version);
    return parts && `${parts[1]} ${parts[2]}`;
  };
  return series(a) !== null && series(a) === series(b);
}

function requireRecent(version: string): void {
  const [, major = 0, minor = 0] = (/(\d+)\.(\d+)/.exec(version) ?? []).map(Number);
  if (major > OLDEST.major || (major === OLDEST.major && minor >= OLDEST.minor)) return;
  throw new RomulusError('HV_UNSUPPORTED', `${version} is too old`, { hint: UPGRADE_HINT });
}
