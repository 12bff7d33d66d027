/** `npm run test:xen`: builds the testbed if need be and fails a guest over between two Xen hosts; with `-- one-host`, tries the driver alone. Reports as JSON. */

import { twoHostFailover, whatIsWrong } from './failover.ts';
import { captureAndRestore } from './one-host.ts';
import { buildTestbed } from './testbed/build.ts';

const EPOCHS = Number(process.env.ROMULUS_XEN_EPOCHS ?? 50);
/** An emulated guest now and then dies of the emulator (docs/xen.md); a second pair of hosts tells that from our own failure. */
const ATTEMPTS = 2;

if (!buildTestbed()) process.exit(1);

const began = performance.now();
const say = (line: string): void =>
  console.error(`${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s  ${line}`);
const failures = await tried(process.argv[2] === 'one-host' ? oneHost : twoHosts);
for (const failure of failures) console.error(`FAILED: ${failure}`);
process.exit(failures.length === 0 ? 0 : 1);

/** What a run found wrong counts at once; only a run that did not come to its end is tried again. */
async function tried(run: () => Promise<string[]>): Promise<string[]> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run();
    } catch (thrown) {
      console.error(`attempt ${attempt} of ${ATTEMPTS} came to no end: ${(thrown as Error).message}`);
      if (attempt === ATTEMPTS) return ['no attempt came to its end'];
    }
  }
}

async function twoHosts(): Promise<string[]> {
  const report = await twoHostFailover(EPOCHS, say);
  console.log(JSON.stringify(report, null, 2));
  return whatIsWrong(report);
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
