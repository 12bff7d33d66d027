/** Whether this host's KVM runs stock guests: /dev/kvm alone does not tell. */

import { accessSync, constants, readFileSync } from 'node:fs';

const KVM = '/dev/kvm';

/**
 * Why guests run without KVM here; undefined where they run with it. A KVM without the processor's own virtualization (the
 * paravirtual PVM) opens and starts a guest, then gives it up at the first instruction it cannot emulate.
 * `ROMULUS_ACCEL` (`kvm` or `tcg`) overrules all of it.
 */
export function kvmMissing(): string | undefined {
  const wish = process.env.ROMULUS_ACCEL;
  if (wish !== undefined) return wish === 'kvm' ? undefined : `ROMULUS_ACCEL is ${wish}`;
  try {
    accessSync(KVM, constants.R_OK | constants.W_OK);
  } catch {
    return `${KVM} is missing or not open to this user`;
  }
  if (process.arch !== 'x64' || hasVirtualization(readFileSync('/proc/cpuinfo', 'utf8'))) return undefined;
  return `${KVM} is there, the processor's virtualization (svm or vmx) is not`;
}

/** `cpuinfo`: text of /proc/cpuinfo of an x86 host. */
export function hasVirtualization(cpuinfo: string): boolean {
  return /^flags\s*:.*\b(svm|vmx)\b/m.test(cpuinfo);
}
