/** An HVM guest on one host: its device model's memory and state are in every epoch, and Xen's own tools let it go on. */

import type { Say } from './failover.ts';
import { type Capture, captured, INTERVAL_MS, LIMIT_MS, onOneHost, VERIFY_SAVE_FILE } from './one-host.ts';
import { GuestConsole, type Tick } from './testbed/guest.ts';

const SAVE = '/root/out/save';

/** A life of the guest from a checkpoint on. */
interface Restored {
  /** Of the last tick before its end. */
  tickBefore: number;
  tickAfter: number;
  /** Of a check that it began and ended after it went on. */
  guestCheck: string;
}

/** As test/xen/dom0/warm.ts prints it. */
interface Warm {
  /** Checkpoints that the standby took once it stood whole. */
  epochs: number;
  goOnMs: number;
  /** What `xen-save-devices-state` wrote at the last one. */
  modelBytes: number;
}

export interface HvmReport {
  capture: Capture;
  cold: Restored & { restoreMs: number };
  warm: Restored & Warm;
}

/**
 * Checkpoints an HVM guest, has Xen's verifier read the save file, ends the guest and has `xl restore` start it from that file;
 * checkpoints that one into a warm standby, ends it and lets the standby go on.
 */
export function captureAndRestoreHvm(epochs: number, say: Say): Promise<HvmReport> {
  const programs = ['capture', 'restore', 'warm'].map((program) => `test/xen/dom0/${program}.ts`);
  const guest = { config: 'hvm.cfg', extra: 'console=ttyS0 screen=1' };
  return onOneHost(say, { programs, ...guest }, async (host, console) => {
    say(`the guest is at tick ${(await console.tick()).tick}`);
    const capture = await captured(host, epochs, say, { outDir: '/root/out' });
    await host.run(`node restore.mjs guest /root/out ${SAVE} && ${VERIFY_SAVE_FILE(SAVE)}`, LIMIT_MS);
    say("Xen's verifier accepts the save file");
    let before = await console.tick();
    await host.run('xl destroy guest', LIMIT_MS);
    const began = performance.now();
    await host.run(`xl restore ${SAVE}`, LIMIT_MS);
    const restoreMs = Math.round(performance.now() - began);
    const restored = new GuestConsole(host);
    const cold = { ...(await wentOn(restored, before)), restoreMs };
    say(`xl restore takes the file, the guest is at tick ${cold.tickAfter}, its memory ${cold.guestCheck}`);
    before = await restored.tick();
    const figures = JSON.parse(
      await host.run(`node warm.mjs guest ${epochs} ${INTERVAL_MS} /root/out`, LIMIT_MS),
    ) as Warm;
    const warm = { ...(await wentOn(new GuestConsole(host), before)), ...figures };
    say(`a warm standby goes on at tick ${warm.tickAfter}, its memory ${warm.guestCheck}`);
    return { capture, cold, warm };
  });
}

async function wentOn(console: GuestConsole, before: Tick): Promise<Restored> {
  const after = await console.tick();
  const { check } = await console.checkedAfter(after);
  return { tickBefore: before.tick, tickAfter: after.tick, guestCheck: check };
}
