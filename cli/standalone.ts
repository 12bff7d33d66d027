/** A guest of this host taken up by the command itself, for measuring, where no agent protects it. */

import { preloadPath } from '../native/preload.ts';
import { openSource } from '../primary/hypervisor/open.ts';
import type { Source } from '../primary/hypervisor/source.ts';
import type { AgentConfig } from '../shared/config.ts';
import { asRomulusError, RomulusError } from '../shared/errors.ts';

/**
 * Attaches to a VM of the config; the caller detaches. The guest must run already unless `mayStart`. Throws VM_UNKNOWN, or
 * what the driver says: VM_BUSY for a guest that an agent protects.
 */
export async function attachStandalone(config: AgentConfig, vm: string, mayStart: boolean): Promise<Source> {
  const known = config.vms[vm];
  if (known === undefined) {
    throw new RomulusError('VM_UNKNOWN', `no VM is named "${vm}"`, {
      hint: `known VMs: ${Object.keys(config.vms).join(', ') || 'none'}; add it under vms: in agent.yaml`,
    });
  }
  const source = await openSource(known.spec, { runDir: config.runDir, preloadPath: preloadPath() });
  try {
    await source.attach({ mayStart });
  } catch (thrown) {
    const { code, message } = asRomulusError(thrown);
    if (code === 'HV_GUEST_GONE' && !mayStart) {
      throw new RomulusError(code, message, { hint: 'start the guest first, or add --start', cause: thrown });
    }
    throw thrown;
  }
  return source;
}
