/** Faults under an outside observer, as the test runs each once and the soak some hundred times. */

import type { AgentProcess } from '../../cli/lab/agent-process.ts';
import { Lab, VM } from '../../cli/lab/lab.ts';
import type { Observer } from '../../cli/lab/observer.ts';
import type { Segment } from '../../cli/lab/segment.ts';

export const faults = [
  'power cut',
  'stop',
  'stop and failover',
  'link cut',
  'link cut and failover',
] as const;
export type Fault = (typeof faults)[number];

/** Answers that must be heard before a fault, and after it. */
const SAYINGS = 40;

export function historyLab(segment: Segment): Promise<Lab> {
  return Lab.create({
    epochMs: 25,
    memoryMiB: 128,
    workload: { structureMiB: 4, pagesPerStep: 4, stepsPerSecond: 20 },
    segment,
  });
}

/**
 * One fault on the host that runs the guest, for `forMs` where it has a length. Returns the host that runs it afterwards;
 * both are ready for the next round, and the observer hears the guest.
 */
export async function strike(
  fault: Fault,
  forMs: number,
  lab: Lab,
  from: AgentProcess,
  to: AgentProcess,
  observer: Observer,
): Promise<AgentProcess> {
  const segment = lab.segment as Segment;
  await observer.hears(SAYINGS);
  switch (fault) {
    case 'power cut':
      await lab.failOver(from, to);
      break;
    case 'stop':
      signal(from, 'SIGSTOP');
      await sleep(forMs);
      signal(from, 'SIGCONT');
      break;
    case 'link cut':
      segment.cutLink(true);
      await sleep(forMs);
      segment.cutLink(false);
      break;
    case 'stop and failover':
      await overtaken(lab, to, forMs, {
        begin: () => signal(from, 'SIGSTOP'),
        end: () => signal(from, 'SIGCONT'),
      });
      break;
    case 'link cut and failover':
      await overtaken(lab, to, forMs, {
        begin: () => segment.cutLink(true),
        end: () => segment.cutLink(false),
      });
      break;
  }
  const moved = fault !== 'stop' && fault !== 'link cut';
  const runs = moved ? to : from;
  await observer.hears(SAYINGS);
  if (moved) {
    // The old copy lived until here, and was heard by nobody; now its host goes, and comes back as the backup.
    if (from.running) await from.pullPlug();
    await lab.swap(from, to);
  } else {
    await lab.untilProtected(from);
  }
  await observer.hears(SAYINGS);
  return runs;
}

/** The fault begins, the backup loses the primary and takes over; the fault ends while both copies are alive. */
async function overtaken(
  lab: Lab,
  to: AgentProcess,
  forMs: number,
  fault: { begin(): void; end(): void },
): Promise<void> {
  const beganMs = performance.now();
  try {
    await lab.watch(
      to,
      (event) => event.kind === 'lost',
      async () => {
        fault.begin();
        return false;
      },
    );
    await to.client.failover({ vm: VM });
    await sleep(Math.max(0, forMs - (performance.now() - beganMs)));
  } finally {
    fault.end();
  }
}

function signal(host: AgentProcess, name: 'SIGSTOP' | 'SIGCONT'): void {
  const qemu = host.qemuPid(VM);
  for (const pid of [host.pid, qemu]) if (pid !== undefined) process.kill(pid, name);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
