/** Says, several times, where a promoted guest's MAC and addresses are now: one broadcast may be lost. */

import type { Relay } from '../native/index.ts';
import { announcementFrames } from '../shared/net/frames.ts';
import type { NetworkSpec } from '../shared/vm.ts';

/** When each round is sent after the first; QEMU's own announcement has the same rounds. */
const ROUNDS_AFTER_MS = [0, 50, 200, 450, 800, 2000];

/** Sends the first round at once; the function returned ends the rest. */
export function announce(relay: Pick<Relay, 'inject'>, { mac, addresses }: NetworkSpec): () => void {
  const frames = announcementFrames(mac, addresses);
  const timers = ROUNDS_AFTER_MS.map((afterMs) => {
    const send = () => {
      for (const frame of frames) relay.inject(frame);
    };
    if (afterMs > 0) return setTimeout(() => sendIfThere(send), afterMs).unref();
    send();
    return undefined;
  });
  return () => {
    for (const timer of timers) clearTimeout(timer);
  };
}

/** Its interface may have gone with the guest since. */
function sendIfThere(send: () => void): void {
  try {
    send();
  } catch {
    // whoever ended the guest has said so
  }
}
