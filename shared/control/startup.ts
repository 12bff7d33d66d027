/** What a node does with a VM when its agent starts (rule 17): nothing by itself, only what record and register say. */

import type { Image } from './authority.ts';
import type { RegisterReading } from './register.ts';
import type { TermRecord } from './terms.ts';

/**
 * `primary`: take up the guest, gate shut. `backup`: any guest here is stale and must be ended first; `imageWhole`
 * false asks for a resync. `wait`: the witness must be asked again; a guest that is there keeps its gate shut.
 */
export type StartAs =
  | { as: 'primary' }
  | { as: 'backup'; endGuest: boolean; imageWhole: boolean }
  | { as: 'wait'; reason: string };

export interface FoundAtStart {
  record: TermRecord;
  /** A guest of this VM outlived the agent. */
  guestAlive: boolean;
  image: Image;
}

/** `reading` undefined: no witness is configured, so this node's own record is all there is. */
export function startAs(self: string, found: FoundAtStart, reading: RegisterReading | undefined): StartAs {
  const { record, guestAlive, image } = found;
  // A node that was given the VM may have run it, so its image is no longer what was committed.
  const asBackup = {
    as: 'backup',
    endGuest: guestAlive,
    imageWhole: image.whole && record.role === 'backup',
  } as const;
  if (!guestAlive) return asBackup;
  if (reading === undefined) return record.role === 'primary' ? { as: 'primary' } : asBackup;
  if (reading.outcome === 'unknown') return { as: 'wait', reason: reading.reason };
  const { state } = reading;
  // Forgotten or older than what this node has seen: it keeps its guest, and its authority stays barred.
  if (state === undefined || state.term < record.term)
    return record.role === 'primary' ? { as: 'primary' } : asBackup;
  return state.owner === self ? { as: 'primary' } : asBackup;
}
