/** `npm run test:xen`: builds the testbed if need be and runs the two-host failover on real Xen; prints its report as JSON. */

import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { twoHostFailover } from './failover.ts';

const EPOCHS = Number(process.env.ROMULUS_XEN_EPOCHS ?? 50);

const here = dirname(fileURLToPath(import.meta.url));
for (const [command, ...args] of [
  [join(here, 'testbed/build.sh')],
  [process.execPath, join(here, '../../native/xen/build.mjs')],
] as [string, ...string[]][]) {
  const { status } = spawnSync(command, args, { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

const began = performance.now();
const say = (line: string): void =>
  console.error(`${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s  ${line}`);
const report = await twoHostFailover(EPOCHS, say);
console.log(JSON.stringify(report, null, 2));
const failures = [
  report.guestCheck !== 'sound' && `the guest's own check says ${report.guestCheck}`,
  report.lastTickAfter <= report.firstTickAfter && 'the guest stands still on b',
].filter((failure) => failure !== false);
for (const failure of failures) console.error(`FAILED: ${failure}`);
process.exit(failures.length === 0 ? 0 : 1);
