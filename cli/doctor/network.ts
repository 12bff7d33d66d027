/** Check of what holds a guest's output back: the relay needs a tap, the kernel gate the `plug` queueing discipline. */

import { accessSync, constants, readFileSync } from 'node:fs';
import { type Finding, finding } from './finding.ts';
import { hasModule } from './kernel-module.ts';

const CAP_NET_ADMIN = 12n;
const PLUG_MODULES = ['sch_plug', 'ifb', 'act_mirred', 'cls_matchall', 'sch_ingress'];

export function checkOutputGate(): Finding {
  const relay = canOpenTaps() && hasNetAdmin();
  const kernel = PLUG_MODULES.every(hasModule);
  const can = [relay ? 'relay' : '', kernel ? 'kernel (sch_plug)' : ''].filter(Boolean);
  return finding('output-gate', 'output gate', relay || kernel ? 'ok' : 'absent', {
    found: can.join(', ') || 'none',
    needed: 'relay for QEMU guests (/dev/net/tun, CAP_NET_ADMIN), kernel for Xen; for guests with networks',
    fix: canOpenTaps() ? 'run the agent as root, or with CAP_NET_ADMIN' : 'sudo modprobe tun',
  });
}

function canOpenTaps(): boolean {
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function hasNetAdmin(): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  return ((BigInt(`0x${effective}`) >> CAP_NET_ADMIN) & 1n) === 1n;
}
