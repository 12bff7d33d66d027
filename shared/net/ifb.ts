/** What leaves a guest comes *into* the host's interface, where nothing can queue: it is redirected to an IFB device, which can. */

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { RomulusError } from '../errors.ts';

/** IFNAMSIZ less its closing zero. */
const MAX_NAME_BYTES = 15;
/** The ingress hook of an interface. */
const INGRESS = 'ffff:';

/** "ifb-" and the interface's name; of one too long for that, its beginning and a digest, since two must never share a queue. */
export function ifbName(device: string): string {
  if (device.length <= MAX_NAME_BYTES - 'ifb-'.length) return `ifb-${device}`;
  return `ifb-${device.slice(0, 6)}${createHash('sha256').update(device).digest('hex').slice(0, 5)}`;
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

/** Makes the IFB device, or takes up what a predecessor made; it is up then. */
export function makeIfb(ifb: string): void {
  if (!existsSync(`/sys/class/net/${ifb}`)) run('ip', 'link', 'add', ifb, 'type', 'ifb');
  run('ip', 'link', 'set', ifb, 'up');
}

/**
 * From now on all that comes in on `device` goes to `ifb` first, ARP and IPv6 too. A redirection that is there stays: a
 * device that was made anew, as with its domain, has none.
 */
export function redirect(device: string, ifb: string): void {
  if (redirectedTo(device, ifb)) return;
  if (!hasIngress(device)) run('tc', 'qdisc', 'add', 'dev', device, 'ingress');
  const into = ['matchall', 'action', 'mirred', 'egress', 'redirect', 'dev', ifb];
  run('tc', 'filter', 'add', 'dev', device, 'parent', INGRESS, 'protocol', 'all', 'prio', '10', ...into);
}

/** Undoes both; what is gone already, as with its domain, is no error. */
export function removeIfb(device: string, ifb: string): void {
  for (const undo of [
    () => run('tc', 'qdisc', 'del', 'dev', device, 'ingress'),
    () => run('ip', 'link', 'del', ifb),
  ]) {
    try {
      undo();
    } catch {
      // the interface went with its guest
    }
  }
}

function hasIngress(device: string): boolean {
  return /^qdisc ingress /m.test(run('tc', 'qdisc', 'show', 'dev', device));
}

function redirectedTo(device: string, ifb: string): boolean {
  if (!hasIngress(device)) return false;
  return run('tc', 'filter', 'show', 'dev', device, 'parent', INGRESS).includes(`to device ${ifb})`);
}

/** Runs a program and returns what it prints; PREREQUISITE with its own words if it fails. */
function run(file: string, ...args: string[]): string {
  try {
    return execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (cause) {
    const { stderr } = cause as { stderr?: string };
    throw new RomulusError('PREREQUISITE', `${file} ${args.join(' ')}: ${stderr?.trim() || cause}`, {
      hint: 'modprobe -a ifb act_mirred cls_matchall sch_ingress sch_plug; or use the relay',
      cause,
    });
  }
}
