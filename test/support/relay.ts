/** A relay between a stand-in for QEMU and a real tap, which somebody outside hears. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RelayGate } from '../../primary/output/relay.ts';
import { FakeNetdev } from './netdev.ts';
import { Outside } from './tap.ts';

export const TAP = 'romulus-test0';

/** Attached, and shut; the tap goes with it. */
export async function makeRelay() {
  const dir = mkdtempSync(join(tmpdir(), 'romulus-gate-'));
  const guest = await FakeNetdev.listen(join(dir, 'net0.sock'));
  const gate = new RelayGate({ tap: TAP, mac: '52:54:00:78:00:02' }, guest.path);
  const outside = await Outside.on(TAP);
  gate.attach();
  const dispose = async () => {
    await outside.close();
    gate.detach();
    await guest.close();
    rmSync(dir, { recursive: true });
  };
  return { gate, guest, outside, dispose };
}
