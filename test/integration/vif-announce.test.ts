/** A promoted guest's vif on a bridge, announced by its host: what a neighbour behind the bridge and the bridge itself then believe. */

import { execFileSync } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { announceVif } from '../../backup/vif.ts';

const [BRIDGE, VIF, GUEST, PORT, NEIGHBOUR] = ['rom-br0', 'rom-vif0', 'rom-vm0', 'rom-port0', 'rom-out0'];
const [OLD_MAC, MAC, ADDRESS] = ['52:54:00:79:00:01', '52:54:00:79:00:09', '10.79.0.9'];
const LIMIT_MS = 5_000;

const ip = (...args: string[]) => execFileSync('ip', args, { encoding: 'utf8' });
const neighbourKnows = () => ip('neigh', 'show', ADDRESS, 'dev', NEIGHBOUR);
const bridgeKnows = () => execFileSync('bridge', ['fdb', 'show', 'br', BRIDGE], { encoding: 'utf8' });

beforeEach(() => {
  ip('link', 'add', BRIDGE, 'type', 'bridge', 'forward_delay', '0');
  ip('link', 'add', VIF, 'type', 'veth', 'peer', 'name', GUEST);
  ip('link', 'add', PORT, 'type', 'veth', 'peer', 'name', NEIGHBOUR);
  for (const port of [VIF, PORT]) ip('link', 'set', port, 'master', BRIDGE);
  for (const device of [BRIDGE, VIF, GUEST, PORT, NEIGHBOUR]) ip('link', 'set', device, 'up');
  ip('address', 'add', '10.79.0.1/24', 'dev', NEIGHBOUR);
  ip('neigh', 'replace', ADDRESS, 'lladdr', OLD_MAC, 'dev', NEIGHBOUR, 'nud', 'stale');
});
afterEach(() => {
  for (const device of [BRIDGE, VIF, PORT]) ip('link', 'delete', device);
});

it('moves the MAC to the vif in the bridge, and the address to the MAC behind it', async () => {
  const stop = announceVif({ tap: VIF, mac: MAC, addresses: [ADDRESS] });
  expect(bridgeKnows()).toContain(`${MAC} dev ${VIF} master ${BRIDGE}`);
  // An entry that was just made is not changed at once: the later rounds are for such.
  for (const deadline = Date.now() + LIMIT_MS; Date.now() < deadline; await delay(50))
    if (neighbourKnows().includes(MAC)) break;
  expect(neighbourKnows()).toContain(MAC);
  stop();
});

it('says so where the vif is on no bridge', () => {
  ip('link', 'set', VIF, 'nomaster');
  expect(() => announceVif({ tap: VIF, mac: MAC })).toThrow('on no bridge');
});
