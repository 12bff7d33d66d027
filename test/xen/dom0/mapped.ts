/**
 * Runs in dom0: a baseline for bench. Checkpoints a guest for N epochs as libxc does, mapping, copying and unmapping each
 * epoch's dirty pages while the guest is suspended, and prints medians.
 */

import { xenBinding } from '../../../native/xen/index.ts';
import { domainNumber } from '../../../shared/hypervisor/xl.ts';
import { mediansOf } from './medians.ts';

const SUSPEND_LIMIT_MS = 60_000;

const [name = 'guest', epochs = '60', intervalMs = '200'] = process.argv.slice(2);
const domain = await xenBinding().openDomain((await domainNumber(name)) as number);
await domain.takeDirty();
const rows: { downMs: number; dirtyPages: number }[] = [];
for (let epoch = 1; epoch <= Number(epochs); epoch++) {
  await new Promise((resolve) => setTimeout(resolve, Number(intervalMs)));
  await domain.suspend(SUSPEND_LIMIT_MS);
  const dirtyPages = await domain.copyByMapping(await domain.takeDirty());
  await domain.state();
  await domain.resume();
  rows.push({ downMs: domain.downMs, dirtyPages });
}
await domain.close();
console.log(JSON.stringify({ medians: mediansOf(rows) }));
