/**
 * `npm run test:xen`: builds the testbed if need be and fails a guest over between two Xen hosts. With `-- export`, also has
 * Xen's tools take an exported checkpoint; with `-- network` or `-- disk`, has a client watch the guest's output or its disk
 * meanwhile; with `-- kills N`, cuts so many hosts' power in a row. With `-- one-host` and `-- gate`, tries driver and network
 * gate alone, with `-- hardship` through a killed agent and ballooning, with `-- endurance N` for so many epochs, with `-- large`
 * on a guest of 5 GiB, with `-- hvm` on one that has a device model. Reports as JSON.
 */

import { diskAcrossFailover } from './disk.ts';
import {
  hardship,
  largeGuest,
  manyEpochs,
  whatDiffers,
  whatHardshipShows,
  whatMemoryGrows,
} from './endurance.ts';
import { exportAndRestore } from './export.ts';
import { twoHostFailover, whatIsWrong } from './failover.ts';
import { gateOnVif, whatPassed } from './gate.ts';
import { captureAndRestoreHvm } from './hvm.ts';
import { killsInARow } from './kills.ts';
import { type NetworkReport, networkAcrossFailover } from './network.ts';
import { captureAndRestore } from './one-host.ts';
import { buildTestbed } from './testbed/build.ts';

const EPOCHS = Number(process.env.ROMULUS_XEN_EPOCHS ?? 50);
/** Of those in which a guest balloons. */
const HARD_EPOCHS = 200;
/** Its guest alone takes minutes to boot. */
const HVM_EPOCHS = 12;
const KILLS = 20;
const LARGE_EPOCHS = 10;
/** An emulated guest now and then dies of the emulator (docs/xen.md); a second pair of hosts tells that from our own failure. */
const ATTEMPTS = 2;

const began = performance.now();
const say = (line: string): void =>
  console.error(`${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s  ${line}`);
const runs: Record<string, () => Promise<string[]>> = {
  failover: twoHosts,
  export: exported,
  gate: gated,
  network: networked,
  disk: onDisk,
  'one-host': oneHost,
  hardship: hardships,
  kills,
  endurance,
  large,
  hvm: hvmGuest,
};
const [what = 'failover', count] = process.argv.slice(2);
const run = runs[what];
if (run === undefined) {
  console.error(`usage: npm run test:xen -- ${Object.keys(runs).join(' | ')}`);
  process.exit(2);
}
if (!buildTestbed()) process.exit(1);
const failures = await tried(run);
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
  return whatIsWrong(report, EPOCHS);
}

async function exported(): Promise<string[]> {
  const report = await exportAndRestore(EPOCHS, say);
  console.log(JSON.stringify(report, null, 2));
  const { guestCheck, tickAfter, failover } = report;
  const wrong = whatIsWrong(failover, EPOCHS);
  if (guestCheck !== 'sound') wrong.push(`the restored guest's own check says ${guestCheck}`);
  if (tickAfter >= failover.tickBeforeCut) wrong.push('the restored guest is younger than its checkpoint');
  return wrong;
}

async function gated(): Promise<string[]> {
  const report = await gateOnVif(say);
  console.log(JSON.stringify(report, null, 2));
  return whatPassed(report);
}

async function networked(): Promise<string[]> {
  const report = await networkAcrossFailover(EPOCHS, say);
  console.log(JSON.stringify(report, null, 2));
  return whatIsWrongOutside(report);
}

async function onDisk(): Promise<string[]> {
  const report = await diskAcrossFailover(EPOCHS, say);
  console.log(JSON.stringify(report, null, 2));
  const wrong = whatIsWrongOutside(report.network);
  if (report.lostRecords > 0) wrong.push(`${report.lostRecords} acknowledged records are missing`);
  if (report.fileSystemErrors !== 0) wrong.push(`e2fsck ends with ${report.fileSystemErrors}`);
  if (!report.recordsConnectionSurvived) wrong.push('the connection for records did not survive');
  return wrong;
}

function whatIsWrongOutside(report: NetworkReport): string[] {
  const wrong = whatIsWrong(report.failover, EPOCHS);
  if (report.answersWithoutAcknowledgement > 0) wrong.push('output left without an acknowledgement');
  if (report.heldPackets === 0) wrong.push('nothing was held while nothing was acknowledged');
  if (report.wrongAnswers > 0) wrong.push(`${report.wrongAnswers} answers were wrong`);
  if (!report.connectionSurvived) wrong.push('the connection did not survive');
  return wrong;
}

async function oneHost(): Promise<string[]> {
  const report = await captureAndRestore(EPOCHS, say);
  console.log(JSON.stringify(report, null, 2));
  const { sameHost, foreignCpu, notPvh } = report.refusals;
  const { capture, guestCheck } = report;
  const wrong = [...whatDiffers(capture), ...(await hardships())];
  if (guestCheck !== 'sound') wrong.push(`the restored guest's own check says ${guestCheck}`);
  if (sameHost !== 'taken') wrong.push(`the guest's own host refuses it: ${sameHost}`);
  for (const said of [foreignCpu, notPvh])
    if (!said.startsWith('HV_UNSUPPORTED')) wrong.push(`what cannot be protected is ${said}`);
  return wrong;
}

async function hardships(): Promise<string[]> {
  const report = await hardship(HARD_EPOCHS, say);
  console.log(JSON.stringify(report, null, 2));
  return whatHardshipShows(report);
}

async function kills(): Promise<string[]> {
  const report = await killsInARow(Number(count ?? KILLS), say);
  console.log(JSON.stringify(report, null, 2));
  return report.wrong;
}

async function endurance(): Promise<string[]> {
  const capture = await manyEpochs(Number(count ?? 1000), say);
  console.log(JSON.stringify(capture, null, 2));
  return [...whatDiffers(capture), ...whatMemoryGrows(capture)];
}

async function large(): Promise<string[]> {
  const capture = await largeGuest(LARGE_EPOCHS, say);
  console.log(JSON.stringify(capture, null, 2));
  return whatDiffers(capture);
}

async function hvmGuest(): Promise<string[]> {
  const report = await captureAndRestoreHvm(Math.min(EPOCHS, HVM_EPOCHS), say);
  console.log(JSON.stringify(report, null, 2));
  const { capture, cold, warm } = report;
  const wrong = whatDiffers(capture);
  if (cold.guestCheck !== 'sound') wrong.push(`the restored guest's own check says ${cold.guestCheck}`);
  if (warm.guestCheck !== 'sound')
    wrong.push(`the check of the warm standby's guest says ${warm.guestCheck}`);
  return wrong;
}
