/** Where a promoted Xen guest is now: told to this host's bridge, and by the host itself to all behind it. */

import { execFileSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { engine } from '../native/index.ts';
import { RomulusError } from '../shared/errors.ts';
import type { NetworkSpec } from '../shared/vm.ts';
import { announce } from './announce.ts';

/**
 * The vif is there by now. A Linux guest announces itself besides, once its driver is connected; others may not. The
 * function returned ends the rounds. PREREQUISITE where the vif is on no bridge, ENODEV where there is none.
 */
export function announceVif(network: NetworkSpec): () => void {
  const { tap, mac } = network;
  const bridge = network.bridge ?? bridgeOf(tap);
  // What a host sends through its own bridge teaches that bridge nothing, and it still has the MAC behind the other host.
  execFileSync('bridge', ['fdb', 'replace', mac, 'dev', tap, 'master', 'dynamic'], { stdio: 'ignore' });
  return announce({ inject: (frame) => engine().sendFrame(bridge, frame) }, network);
}

function bridgeOf(vif: string): string {
  try {
    return basename(readlinkSync(`/sys/class/net/${vif}/master`));
  } catch (cause) {
    throw new RomulusError('PREREQUISITE', `${vif} is on no bridge of this host`, {
      hint: `ip link set ${vif} master BRIDGE; or give it bridge= in xl's configuration`,
      cause,
    });
  }
}
