/** How a guest that was promoted here is protected in its turn: towards its old primary, by this host's own config where that names it. */

import type { Protection } from '../../shared/wire/messages.ts';
import type { HostParts, ProtectionRecord } from './roles.ts';

/** For a promoted VM that this host's config does not name. */
const DEFAULT_EPOCH_MS = 25;
const DEFAULT_WINDOW = 8;

/** `protection` is what the old primary had asked for. */
export function protectionAfterPromotion(
  { config }: HostParts,
  vm: string,
  to: string,
  { witness: _, watchdogMs: __, ...protection }: Protection,
): Omit<ProtectionRecord, 'spec'> {
  const own = config.vms[vm];
  return {
    to,
    epochMs: own?.epochMs ?? DEFAULT_EPOCH_MS,
    ...(own && { epochMaxMs: own.epochMaxMs }),
    windowEpochs: own?.windowEpochs ?? DEFAULT_WINDOW,
    protection,
    onGuestEnd: own?.onGuestEnd ?? {
      panicked: 'end',
      gone: protection.failover === 'auto' ? 'failover' : 'end',
    },
  };
}
