/** One host: the kernel gate on a real vif, whose guest answers a stream of pings, and the bridge behind it as the outside. */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Say } from './failover.ts';
import { BRIDGE, GUEST_ADDRESS, MAC, NETWORKED, VIF } from './network.ts';
import { bundleForDom0 } from './testbed/bundle.ts';
import { createGuest, GuestConsole } from './testbed/guest.ts';
import { XenHost } from './testbed/host.ts';

const LIMIT_MS = 240_000;
/** What had passed the gate's place before it was made has reached the bridge by then. */
const SETTLE = 'wait=500';
const RUNS = [
  // Shut from the start, and while twenty agents take it up one after the other; then an epoch, and another too late.
  `attach ${SETTLE} attach=20 wait=2000 seal=1 wait=2000 release=1 ${SETTLE} wait=2000 seal=2 late=2 ${SETTLE} die`,
  // The next agent, after the death of the last: what was held is gone, and nothing passes until it says so.
  'attach wait=2000 open wait=2000 detach wait=2000',
];

/** After a word: packets held, and packets that the bridge has had from the guest since it was made. */
export interface GateStep {
  word: string;
  held: number;
  seen: number;
}

/** What each of the two runs of test/xen/dom0/gate.ts said, and what the bridge had between the death and the next. */
export interface GateReport {
  first: GateStep[];
  seenWhileDead: [before: number, after: number];
  second: GateStep[];
}

export async function gateOnVif(say: Say): Promise<GateReport> {
  const dir = mkdtempSync(join(tmpdir(), 'xen-'));
  const sharedDir = join(dir, 'shared');
  mkdirSync(sharedDir);
  bundleForDom0(sharedDir, ['test/xen/dom0/gate.ts']);
  const host = await XenHost.boot({ name: 'host', runDir: join(dir, 'host'), sharedDir });
  try {
    say('the host is up');
    await host.run(
      `ip link add ${BRIDGE} type bridge forward_delay 0 && ip addr add 10.0.0.1/24 dev ${BRIDGE} && ip link set ${BRIDGE} up`,
    );
    await createGuest(host, { extra: NETWORKED.extra, settings: NETWORKED.vif });
    await new GuestConsole(host).tick();
    await host.run(`ping -c 1 -W 60 ${GUEST_ADDRESS}`, LIMIT_MS);
    say('the guest answers');
    await host.run(`ip neigh replace ${GUEST_ADDRESS} lladdr ${MAC} dev ${BRIDGE}`);
    host.start(`exec ping -n -q -i 0.1 -c 100000 ${GUEST_ADDRESS}`);
    const [first, second] = [await words(host, RUNS[0] ?? ''), await whileDead(host)];
    return { first, seenWhileDead: second, second: await words(host, RUNS[1] ?? '') };
  } finally {
    host.kill();
    rmSync(dir, { recursive: true, force: true });
  }
}

async function words(host: XenHost, line: string): Promise<GateStep[]> {
  const { output } = await host.finished(host.start(`node gate.mjs ${VIF} ${BRIDGE} ${line}`), LIMIT_MS);
  return output
    .split('\n')
    .filter((each) => each.startsWith('{'))
    .map((each) => JSON.parse(each) as GateStep);
}

async function whileDead(host: XenHost): Promise<[number, number]> {
  const count = `cat /sys/class/net/${BRIDGE}/statistics/rx_packets`;
  const [before = '', after = ''] = (await host.run(`${count}; sleep 3; ${count}`, LIMIT_MS)).split('\n');
  return [Number(before), Number(after)];
}

/** What contradicts the gate's promise; nothing, if all is well. */
export function whatPassed({ first, seenWhileDead, second }: GateReport): string[] {
  const wrong: string[] = [];
  const [, shut, taken, held, sealed, later, released, , after, , , late] = first;
  if (shut === undefined || late === undefined || second.length < 6)
    return ['the gate did not come to its end'];
  const passed = (from: GateStep | undefined, to: GateStep | undefined): number =>
    (to?.seen ?? 0) - (from?.seen ?? 0);
  if (passed(shut, later) > 0) wrong.push(`${passed(shut, later)} packets passed a gate that was shut`);
  if (passed(shut, taken) > 0) wrong.push('packets passed while another agent took it up');
  if ((held?.held ?? 0) === 0) wrong.push('nothing was held');
  // One more may have come between the seal and the look at what it holds.
  if (passed(later, after) === 0 || Math.abs(passed(later, after) - (sealed?.held ?? 0)) > 1)
    wrong.push(`${passed(later, after)} packets left with an epoch of ${sealed?.held}`);
  if (released?.held === 0) wrong.push('what came after the seal was released with it');
  if (passed(after, late) > 0) wrong.push('packets left under a permit that had run out');
  if (seenWhileDead[1] !== seenWhileDead[0] || seenWhileDead[0] !== late.seen)
    wrong.push('packets passed a gate whose agent was dead');
  const [again, silent, , open, , direct] = second;
  if (again?.seen !== late.seen || silent?.seen !== late.seen)
    wrong.push('what a dead agent held was let out');
  if (passed(silent, open) === 0) wrong.push('nothing passed an open gate');
  if (passed(open, direct) === 0) wrong.push('nothing passed once the gate was gone');
  return wrong;
}
