/** What a guest and its agent go through beside plain epochs: memory given back and taken again, an agent killed in a pause, many epochs. */

import type { Held } from './dom0/held.ts';
import type { Say } from './failover.ts';
import { type Capture, captured, LIMIT_MS, onOneHost } from './one-host.ts';

const PROGRAMS = ['test/xen/dom0/capture.ts'];
const BUSY = 'tick=0.2 dirty=256 working=8';
const VCPUS = 2;
const BALLOON_TO_MIB = 100;
/** Memory on both sides of the hole below 4 GiB. */
const LARGE = { memoryMiB: 5120, guestsMiB: 5632 };
/** Node's own memory comes and goes, and has found its level only after some 200 epochs. */
const MAX_RSS_GROWTH_MIB = 24;

export interface HardshipReport {
  /** The guest after its agent was killed, as `xl list` shows it: it stands suspended. */
  leftByKill: string;
  afterKill: Capture;
  ballooning: Capture;
  guestCheck: string;
}

/**
 * A busy guest of two processors on a host of its own: the process that captures it is killed in the middle of a pause, and
 * another takes it up, for so many epochs in which the guest gives memory back and takes it again.
 */
export function hardship(epochs: number, say: Say): Promise<HardshipReport> {
  const guest = { programs: PROGRAMS, extra: BUSY, vcpus: VCPUS };
  return onOneHost(say, guest, async (host, console) => {
    await host.finished(host.start('DIE_AT=3 node capture.mjs guest 5 100'), LIMIT_MS);
    const leftByKill = (await host.run('xl list guest')).trim().split('\n').at(-1)?.split(/\s+/)[4] ?? '';
    say(`the agent was killed, the guest is left as ${leftByKill}`);
    const afterKill = await captured(host, 5, say, { compareEvery: 1 });
    const ballooning = await captured(host, epochs, say, { compareEvery: 10, balloonToMiB: BALLOON_TO_MIB });
    const { check } = await console.checkedAfter(await console.tick());
    return { leftByKill, afterKill, ballooning, guestCheck: check };
  });
}

export function whatHardshipShows({
  leftByKill,
  afterKill,
  ballooning,
  guestCheck,
}: HardshipReport): string[] {
  const wrong = [...whatDiffers(afterKill), ...whatDiffers(ballooning)];
  if (!leftByKill.includes('s')) wrong.push(`the kill left the guest as ${leftByKill}, not suspended`);
  const [before, after] = [afterKill.held.guestPorts, ballooning.held.guestPorts];
  if (after > before)
    wrong.push(`each protection takes an event channel of the guest: ${before}, then ${after}`);
  if (ballooning.cpus !== VCPUS) wrong.push(`the guest has ${ballooning.cpus} processors`);
  if (ballooning.smallestMiB >= ballooning.memoryMiB) wrong.push('the guest gave no memory back');
  if (guestCheck !== 'sound') wrong.push(`the guest's own check says ${guestCheck}`);
  return wrong;
}

/** So many epochs of one protection, on a host of their own. */
export function manyEpochs(epochs: number, say: Say): Promise<Capture> {
  return onOneHost(say, { programs: PROGRAMS }, (host) =>
    captured(host, epochs, say, { compareEvery: 100, intervalMs: 50 }),
  );
}

/** A guest with memory above 4 GiB. */
export function largeGuest(epochs: number, say: Say): Promise<Capture> {
  return onOneHost(say, { programs: PROGRAMS, ...LARGE }, (host) =>
    captured(host, epochs, say, { compareEvery: Math.ceil(epochs / 2) }),
  );
}

export function whatDiffers({ differing, compared, warm, held }: Capture): string[] {
  const wrong: string[] = [];
  if (compared === 0) wrong.push('nothing was compared');
  if (differing !== 0) wrong.push(`${differing} pages differ from the guest`);
  return warm === undefined ? wrong : [...wrong, ...whatLeaks(warm, held)];
}

/** What is held after the last epoch and was not after a fifth of them. */
function whatLeaks(warm: Held, held: Held): string[] {
  const leaks: string[] = [];
  const counted = ['descriptors', 'foreign', 'hypercall', 'threads', 'guestPorts', 'dom0Ports'] as const;
  for (const of of counted) if (held[of] > warm[of]) leaks.push(`${of} grew from ${warm[of]} to ${held[of]}`);
  return leaks;
}

/** For many epochs: a few of them end before Node's memory has found its level. */
export function whatMemoryGrows({ warm, held }: Capture): string[] {
  if (warm === undefined || held.rssMiB <= warm.rssMiB + MAX_RSS_GROWTH_MIB) return [];
  return [`resident memory grew from ${warm.rssMiB} to ${held.rssMiB} MiB`];
}
