/** Ends what is left here of a VM that another node owns: its guest, its image, and the records of both roles. */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { openTarget } from '../../backup/hypervisor/open.ts';
import { standbyRecordPath } from '../../backup/standby-record.ts';
import { preloadPath } from '../../native/preload.ts';
import type { TermFile } from '../../shared/control/terms.ts';
import { removeRecord } from '../../shared/durable-file.ts';
import type { VmSpec } from '../../shared/vm.ts';
import { type HostParts, imageDir, protectionPath, vmDir } from './roles.ts';

/** Ends a guest that runs, or stands by, on this host. */
export async function endGuest({ config }: HostParts, spec: VmSpec): Promise<void> {
  const target = await openTarget(spec, { preloadPath: preloadPath() });
  const runDir = join(config.runDir, spec.name);
  await target.takeUp(spec, { imagePath: join(imageDir(config, spec.name), 'image.ram'), runDir });
  await target.stop();
}

/** Remembers the term before anything is removed: without its records nothing else would tell that the VM lives elsewhere. */
export async function forgetGuest(
  { config }: HostParts,
  vm: string,
  term: number,
  file: TermFile,
): Promise<void> {
  const { current } = file;
  if (term > current.term || current.role === 'primary')
    await file.save({ term: Math.max(term, current.term), role: 'backup', epoch: 0 });
  rmSync(imageDir(config, vm), { recursive: true, force: true });
  await removeRecord(protectionPath(config, vm));
  await removeRecord(standbyRecordPath(vmDir(config, vm)));
}
