/** `romulus demo --guest xen`: two real Xen hosts under an emulator, the power plug of one, and the same guest on the other. */

import { RomulusError } from '../../shared/errors.ts';
import type { DemoResult } from '../demo.ts';
import { say } from './text.ts';

/** Epochs the guest is protected for before the plug is pulled. */
const EPOCHS = 50;
/**
 * Builds the testbed if need be (some minutes, once) and plays the failover. Nobody talks to this guest over a network, so
 * what a client sees is null. Times are the emulator's: ten to fifty times those of a real host.
 */
export async function playXenDemo(): Promise<DemoResult> {
  const { buildTestbed } = await import('../../test/xen/testbed/build.ts');
  const { twoHostFailover, whatIsWrong } = await import('../../test/xen/failover.ts');
  say('building two Xen hosts from Debian packages (once, some minutes)');
  if (!buildTestbed()) {
    throw new RomulusError('PREREQUISITE', 'the Xen testbed could not be built', {
      hint: 'node cli/setup.mjs --for build,xen',
    });
  }
  const report = await twoHostFailover(EPOCHS, say);
  const ticksAfter = report.lastTickAfter - report.firstTickAfter;
  return {
    guest: 'xen',
    epochs: report.epochs,
    epochMs: report.epochMs,
    pauseMs: report.pauseMs,
    dirtyPagesP50: report.dirtyPagesP50,
    rawBytes: report.rawBytes,
    wireBytes: report.wireBytes,
    detectMs: 0, // whoever pulls the plug says so: failover --force --fenced-by
    resumeMs: report.decisionToRunningMs,
    rtoMs: report.rtoMs,
    failoverEpoch: report.epochs,
    ticksBefore: report.tickBeforeCut,
    ticksAfter,
    checksAfter: report.guestCheck === 'sound' ? 1 : 0,
    faults: report.guestCheck === 'CORRUPT' ? 1 : 0,
    acknowledgedWrites: null,
    lostWrites: null,
    connectionSurvived: null,
    clientGapMs: null,
    ok: whatIsWrong(report, EPOCHS).length === 0,
  };
}
