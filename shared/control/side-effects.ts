/** What a guest can do to the world past the output gate: only proof that its old host is dead makes up for that (rule 15). */

import type { VmSpec } from '../vm.ts';

/** Devices named in extraArgs that reach the world by themselves. */
const PASSING: readonly [pattern: RegExp, what: string][] = [
  [/\bvfio-|\bpci-assign\b/, 'passthrough'],
  [/\bvhost-/, 'vhost device'],
  [/^(tap|bridge|user|socket|stream|vde|l2tpv3|netmap|af-xdp)\b/, 'network device of its own'],
  [/\bvirtfs\b|\bvirtio-9p\b/, 'shared folder'],
  [/\bfile=|\bfilename=/, 'disk of its own'],
  [/\busb-host\b/, 'USB device of the host'],
];

/** In words for the operator; empty if everything waits at the gate. Disks that are replicated are gated, and not named. */
export function sideEffects(spec: VmSpec): string[] {
  const found: string[] = [];
  for (const argument of spec.extraArgs ?? []) {
    const passing = PASSING.find(([pattern]) => pattern.test(argument));
    if (passing !== undefined) found.push(`${passing[1]} (${argument})`);
  }
  return found;
}
