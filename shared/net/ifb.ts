/** What leaves a guest comes *into* the host's interface, where nothing can queue: it is redirected to an IFB device, which can. */

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { RomulusError } from '../errors.ts';

/** Commands that redirect all that comes in on `device` to `ifb`; all of it, ARP and IPv6 too. */
export function redirectCommands(device: string, ifb: string): string[][] {
  const redirect = ['matchall', 'action', 'mirred', 'egress', 'redirect', 'dev', ifb];
  return [
    ['ip', 'link', 'add', ifb, 'type', 'ifb'],
    ['ip', 'link', 'set', ifb, 'up'],
    ['tc', 'qdisc', 'add', 'dev', device, 'ingress'],
    ['tc', 'filter', 'add', 'dev', device, 'parent', 'ffff:', 'protocol', 'all', 'prio', '10', ...redirect],
  ];
}

/** "ifb-" and the interface's name, as far as 15 bytes go. */
export function ifbName(device: string): string {
  return `ifb-${device}`.slice(0, 15);
}

/** Index of an interface of this host. */
export function interfaceIndex(device: string): number {
  try {
    return Number(readFileSync(`/sys/class/net/${device}/ifindex`, 'utf8'));
  } catch (cause) {
    throw new RomulusError('PREREQUISITE', `this host has no interface ${device}`, {
      hint: 'ip link',
      cause,
    });
  }
}

export function runAll(commands: readonly string[][]): void {
  for (const [file = '', ...args] of commands) {
    try {
      execFileSync(file, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    } catch (cause) {
      const { stderr } = cause as { stderr?: Buffer };
      throw new RomulusError(
        'PREREQUISITE',
        `${file} ${args.join(' ')}: ${stderr?.toString().trim() || cause}`,
        {
          hint: 'modprobe -a ifb act_mirred cls_matchall sch_ingress sch_plug; or use the relay',
          cause,
        },
      );
    }
  }
}
