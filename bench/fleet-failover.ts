/** A power cut under many protected VMs at once: recorded guests, real agents, a real witness; how long until the last one goes on. */

import { join } from 'node:path';
import { Fleet } from '../cli/lab/fleet.ts';
import { LabWitness } from '../cli/lab/witness.ts';
import { RomulusError } from '../shared/errors.ts';
import { Samples } from '../shared/samples.ts';
import type { AgentEvent } from '../shared/status.ts';
import { writeBusyTrace } from './busy-trace.ts';

export interface FleetBenchOptions {
  vms: number;
  /** Silence that counts as loss, in ms. */
  silenceMs: number;
  onProgress(line: string): void;
}

/** Over all VMs; times in ms from the power cut. */
export interface FleetRow {
  what: 'fleet';
  vms: number;
  silenceMs: number;
  epochMs: number;
  dirtyPages: number;
  /** From the first order until the last VM was PROTECTED. */
  protectMs: number;
  /** Times that protection was lost before the cut, over all VMs. */
  lostProtection: number;
  /** Until the backup asked the witness for the VM. */
  detectedMs: { p50: number; max: number };
  /** Until the guest ran on the other host. */
  runningMs: { p50: number; p99: number; max: number };
  /** VMs that went on from an older epoch than one that had been acknowledged. */
  lost: number;
  /** VMs that the old host served too once it was back. */
  twoActive: number;
}

/** Recorded guests: what is measured is the agents' work, not the emulator's. */
const GUEST = { ramBytes: 16 * 2 ** 20, epochs: 400, dirtyPages: 32, epochMs: 500 };
const PROTECT_TIMEOUT_MS = 120_000;
/** The VMs run protected for so long before the cut. */
const SETTLE_MS = 5000;
const FAILOVER_TIMEOUT_MS = 60_000;

export async function benchFleet({
  vms: count,
  silenceMs,
  onProgress,
}: FleetBenchOptions): Promise<FleetRow[]> {
  const witness = await LabWitness.start();
  const tracePath = join(witness.directory, 'busy.trace.zst');
  await writeBusyTrace(tracePath, GUEST);
  const fleet = await Fleet.create({
    vms: Array.from({ length: count }, (_, i) => `vm${i + 1}`),
    vm: {
      hypervisor: 'replay',
      memory: `${GUEST.ramBytes / 2 ** 20}MiB`,
      disk: tracePath,
      epoch: `${GUEST.epochMs}ms`,
    },
    witness,
    agent: { silence: `${silenceMs}ms` },
  });
  try {
    await fleet.start();
    onProgress(`protecting ${count} VMs`);
    const beganMs = performance.now();
    await fleet.protect(PROTECT_TIMEOUT_MS);
    const protectMs = performance.now() - beganMs;
    const stop = new AbortController();
    const degraded = countLosses(fleet, stop.signal);
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    stop.abort();
    const lostProtection = await degraded;
    await fleet.untilAll(fleet.alpha, ({ state }) => state === 'PROTECTED', PROTECT_TIMEOUT_MS);
    onProgress('power cut');
    const { claimed, running, lost } = await cut(fleet);
    onProgress('the old host comes back');
    await fleet.alpha.start();
    const { vms } = await fleet.alpha.client.status();
    return [
      {
        what: 'fleet',
        vms: count,
        silenceMs,
        epochMs: GUEST.epochMs,
        dirtyPages: GUEST.dirtyPages,
        protectMs: Math.round(protectMs),
        lostProtection,
        detectedMs: { p50: rounded(claimed.quantile(0.5)), max: rounded(claimed.quantile(1)) },
        runningMs: {
          p50: rounded(running.quantile(0.5)),
          p99: rounded(running.quantile(0.99)),
          max: rounded(running.quantile(1)),
        },
        lost,
        twoActive: vms.filter(({ role, state }) => role === 'primary' && state !== 'FENCED').length,
      },
    ];
  } finally {
    await fleet.close();
    await witness.stop();
  }
}

async function countLosses({ alpha }: Fleet, signal: AbortSignal): Promise<number> {
  let losses = 0;
  for await (const event of alpha.client.events(signal)) if (event.kind === 'backup-lost') losses += 1;
  return losses;
}

/** Ends alpha, and follows beta until every VM runs there. */
async function cut(fleet: Fleet): Promise<{ claimed: Samples; running: Samples; lost: number }> {
  const { alpha, beta, vms } = fleet;
  const claimed = new Samples(vms.length);
  const running = new Samples(vms.length);
  const events = await beta.client.openEvents(AbortSignal.timeout(FAILOVER_TIMEOUT_MS));
  const acked = new Map((await alpha.client.status()).vms.map(({ vm, ackedEpoch }) => [vm, ackedEpoch]));
  const cutMs = performance.now();
  await alpha.pullPlug();
  let lost = 0;
  const take = ({ kind, phase, vm, epoch }: AgentEvent) => {
    const afterMs = performance.now() - cutMs;
    if (kind === 'authority' && phase === 'CLAIMING') claimed.add(afterMs);
    if (kind !== 'failover') return;
    running.add(afterMs);
    if (Number(epoch) < (acked.get(vm) ?? 0)) lost += 1;
  };
  for await (const event of events) {
    take(event);
    if (running.count === vms.length) break;
  }
  if (running.count < vms.length)
    throw new RomulusError(
      'DEGRADED',
      `${running.count} of ${vms.length} VMs went on within ${FAILOVER_TIMEOUT_MS} ms`,
    );
  return { claimed, running, lost };
}

function rounded(ms: number): number {
  return Math.round(ms * 10) / 10;
}
