/** One host, the driver alone: checkpoints guests, has Xen's own verifier read the save file, ends a guest and starts it anew from the image. */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Held } from './dom0/held.ts';
import type { Say } from './failover.ts';
import { bundleForDom0 } from './testbed/bundle.ts';
import { createGuest, GuestConsole } from './testbed/guest.ts';
import { XenHost } from './testbed/host.ts';

export const LIMIT_MS = 900_000;
export const INTERVAL_MS = 200;
/** The command of Xen's own verifier for a file. */
export const VERIFY_SAVE_FILE = (file: string): string =>
  `PYTHONPATH=/usr/lib/xen-4.17/lib/python python3 /usr/lib/xen-4.17/bin/verify-stream-v2 -f xl -i ${file}`;

/** As test/xen/dom0/capture.ts prints it: medians over the epochs, pages that differed at any of the comparisons. */
export interface Capture {
  cpus: number;
  differing: number;
  compared: number;
  smallestMiB: number;
  memoryMiB: number;
  medians: Record<string, number>;
  /** After a fifth of the epochs, by when the process has all it needs, and after the last. */
  warm?: Held;
  held: Held;
}

/** What the driver says, for a person: 'taken', or code and message. */
interface Refusals {
  sameHost: string;
  foreignCpu: string;
  notPvh: string;
}

export interface OneHostReport {
  refusals: Refusals;
  capture: Capture;
  tickBefore: number;
  restoreMs: number;
  tickAfter: number;
  guestCheck: string;
}

/** Checkpoints a guest, and starts it anew from image and state alone. */
export function captureAndRestore(epochs: number, say: Say): Promise<OneHostReport> {
  const programs = ['capture', 'restore', 'refusals'].map((program) => `test/xen/dom0/${program}.ts`);
  return onOneHost(say, { programs }, async (host, console) => {
    const refusals = await whatIsRefused(host);
    const capture = await captured(host, epochs, say, { outDir: '/root/out' });
    const before = await console.tick();
    const save = '/root/out/save';
    await host.run(
      `node restore.mjs guest /root/out ${save} && ${VERIFY_SAVE_FILE(save)} && rm ${save}`,
      LIMIT_MS,
    );
    say("Xen's verifier accepts the save file");
    const restored = await host.run('xl destroy guest && node restore.mjs guest /root/out', LIMIT_MS);
    say('the guest is started anew from image and state');
    const restoredConsole = new GuestConsole(host);
    const after = await restoredConsole.tick();
    const { check } = await restoredConsole.checkedAfter(after);
    const { tookMs } = JSON.parse(restored) as { tookMs: number };
    return {
      refusals,
      capture,
      tickBefore: before.tick,
      restoreMs: tookMs,
      tickAfter: after.tick,
      guestCheck: check,
    };
  });
}

export interface OneHostOptions {
  /** What dom0 runs. */
  programs: string[];
  /** The guest's configuration, and more of its kernel command line. */
  config?: string;
  extra?: string;
  vcpus?: number;
  memoryMiB?: number;
  /** What the host has for guests, where that is more than other hosts have: it then boots from the beginning. */
  guestsMiB?: number;
}

async function whatIsRefused(host: XenHost): Promise<Refusals> {
  await host.run(`xl create -p /testbed/guest.cfg 'name="other"' 'type="pv"'`, LIMIT_MS);
  const said = await host.run('node refusals.mjs guest other', LIMIT_MS);
  await host.run('xl destroy other', LIMIT_MS);
  return JSON.parse(said) as Refusals;
}

/** Boots a host and the guest, and ends both when the work is done. */
export async function onOneHost<T>(
  say: Say,
  { programs, config, extra, vcpus = 1, memoryMiB = 128, guestsMiB }: OneHostOptions,
  work: (host: XenHost, console: GuestConsole) => Promise<T>,
): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'xen-'));
  const sharedDir = join(dir, 'shared');
  mkdirSync(sharedDir);
  bundleForDom0(sharedDir, programs);
  const runDir = join(dir, 'host');
  const host = await XenHost.boot({
    name: 'host',
    runDir,
    sharedDir,
    bootLimitMs: LIMIT_MS,
    ...(guestsMiB !== undefined && { guestsMiB }),
  });
  try {
    say('the host is up');
    await host.run('mkdir -p /root/out');
    const settings = `vcpus=${vcpus} memory=${memoryMiB}`;
    await createGuest(host, { ...(config && { config }), ...(extra && { extra }), settings });
    const console = new GuestConsole(host);
    await console.tick();
    return await work(host, console);
  } finally {
    host.kill();
    rmSync(dir, { recursive: true, force: true });
  }
}

/** What capture.ts is told besides the number of epochs. */
export interface CaptureOptions {
  outDir?: string;
  compareEvery?: number;
  balloonToMiB?: number;
  intervalMs?: number;
}

export async function captured(
  host: XenHost,
  epochs: number,
  say: Say,
  { outDir = '', compareEvery = 25, balloonToMiB, intervalMs = INTERVAL_MS }: CaptureOptions,
): Promise<Capture> {
  const balloon = balloonToMiB === undefined ? '' : `BALLOON_TO_MIB=${balloonToMiB}`;
  const command = `node capture.mjs guest ${epochs} ${intervalMs} ${outDir}`;
  const said = await host.run(`COMPARE_EVERY=${compareEvery} ${balloon} ${command}`, LIMIT_MS);
  const capture = JSON.parse(said.trim().split('\n').at(-1) ?? '') as Capture;
  say(`captured ${epochs} epochs, ${capture.differing} pages differ in ${capture.compared} comparisons`);
  return capture;
}
