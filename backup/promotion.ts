/** From a won claim to a running guest: ends the old primary's session, finishes the image, starts the hypervisor on it. */

import { engine } from '../native/index.ts';
import { crashPoint } from '../shared/crash-point.ts';
import { RomulusError } from '../shared/errors.ts';
import type { FailoverResult } from '../shared/status.ts';
import type { VmSpec } from '../shared/vm.ts';
import type { Promotion } from './authority-driver.ts';
import type { StandbyImage } from './image/standby-image.ts';
import type { ReadyGuest } from './ready-guest.ts';
import type { Receiver } from './receiver.ts';

export interface PromotionParts {
  vm: string;
  promotion: Promotion;
  /** Of the old primary, if its session is open still. */
  receiver: Receiver | undefined;
  image: StandbyImage;
  guest: ReadyGuest;
}

/**
 * Resolves when the guest runs. That this node is the primary in this term is on disk already, so that a restart of the
 * agent does not take the image for a standby again. Throws IMAGE_NOT_PROMOTABLE, HV_START.
 */
export async function promote(parts: PromotionParts): Promise<FailoverResult> {
  const { vm, promotion, receiver, image, guest } = parts;
  const beganMs = engine().bootTimeMs();
  receiver?.refuse(new RomulusError('TERM_STALE', `${vm} is being promoted on the backup`), promotion.term);
  await receiver?.settled();
  image.journal.abort();
  if (!image.promotable) {
    throw new RomulusError('IMAGE_NOT_PROMOTABLE', `the standby image of ${vm} is not whole`, {
      hint: `romulus status ${vm}`,
    });
  }
  await guest.ready();
  const epoch = image.committed;
  const statePath = image.writeState();
  crashPoint('backup.promoting');
  crashPoint('backup.promoted');
  image.disk?.promote();
  await guest.start(statePath);
  return {
    vm,
    epoch,
    term: promotion.term,
    decisionToRunningMs: engine().bootTimeMs() - beganMs,
    promiseWaitMs: Math.max(0, beganMs - promotion.decidedMs),
  };
}

/** A guest promoted by an earlier run of the agent: runs it on if that died between deciding and starting. */
export async function takeUpPromoted(
  image: StandbyImage,
  guest: ReadyGuest,
  spec: VmSpec,
): Promise<'running' | 'gone'> {
  image.disk?.promote();
  const found = await guest.takeUp(spec);
  if (found !== 'waiting') return found;
  // Nothing has run on this image yet: the hypervisor still waits for its state.
  await image.recover();
  await guest.start(image.writeState());
  return 'running';
}
