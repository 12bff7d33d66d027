/** What a restarted agent must know of a standby, in one small file beside its image. */

import { join } from 'node:path';
import type { Geometry, VmSpec } from '../shared/vm.ts';
import type { Protection } from '../shared/wire/messages.ts';

/** Written when the primary says hello. */
export interface StandbyRecord {
  peer: string;
  spec: VmSpec;
  geometry: Geometry;
  protection: Protection;
}

export function standbyRecordPath(dataDir: string): string {
  return join(dataDir, 'standby.json');
}

export function sameGeometry(a: Geometry, b: Geometry): boolean {
  return a.arch === b.arch && a.ramBytes === b.ramBytes && a.cpus === b.cpus && a.hypervisor === b.hypervisor;
}

/** The authority that served the one serves the other too. */
export function sameParty(a: StandbyRecord | undefined, b: StandbyRecord): boolean {
  return (
    a !== undefined && a.peer === b.peer && JSON.stringify(a.protection) === JSON.stringify(b.protection)
  );
}
