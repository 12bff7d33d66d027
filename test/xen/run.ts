/** `npm run test:xen`: builds the testbed if need be and fails a guest over between two Xen hosts; with `-- one-host`, tries the driver alone. Reports as JSON. */

import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { twoHostFailover } from './failover.ts';
import { captureAndRestore } from './one-host.ts';

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
const failures = process.argv[2] === 'one-host' ? await oneHost() : await twoHosts();
for (const failure of failures) console.error(`FAILED: ${failure}`);
process.exit(failures.length === 0 ? 0 : 1);

async function twoHosts(): Promise<string[]> {
  const report = await twoHostFailover(EPOCHS, say);
  console.log(JSON.stringify(report, null, 2));
  const failures: string[] = [];
  if (report.guestCheck === 'CORRUPT') failures.push("the guest's own check fails on b");
  if (report.lastTickAfter <= report.firstTickAfter) failures.push('the guest stands still on b');
  return failures;
}

async function oneHost(): Promise<string[]> {
  const report = await captureAndRestore(EPOCHS, say);
  console.log(JSON.stringify(report, null, 2));
  const failures: string[] = [];
  if (report.capture.differing !== 0)
    failures.push(`${report.capture.differing} pages differ from the guest`);
  if (report.guestCheck === 'CORRUPT') failures.push("the restored guest's own check fails");
  return failures;
}
