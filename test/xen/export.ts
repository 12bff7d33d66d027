/** An exported checkpoint, in the hands of Xen's own tools once everything else is gone: its verifier, and plain `xl restore`. */

import type { ExportResult } from '../../shared/status.ts';
import { cutAndGoOn, type FailoverReport, protectedPair, type Say, untilProtected } from './failover.ts';
import { VERIFY_SAVE_FILE } from './one-host.ts';
import { GuestConsole } from './testbed/guest.ts';
import { StatusWatch } from './testbed/status-watch.ts';

const LIMIT_MS = 360_000;
const FILE = '/root/guest.save';

export interface ExportReport {
  /** Of the file, which is of an earlier epoch: it was written while the guest was protected. */
  epoch: number;
  sizeBytes: number;
  restoreMs: number;
  tickAfter: number;
  guestCheck: string;
  failover: FailoverReport;
}

/** Exports a standby while epochs go on, fails over, ends the guest for good, and restores the file. */
export async function exportAndRestore(epochs: number, say: Say): Promise<ExportReport> {
  const pair = await protectedPair(say);
  try {
    await untilProtected(new StatusWatch(pair.host('a'), say));
    const exported = await pair.verb<ExportResult>('b', `checkpoint export guest -o ${FILE}`, LIMIT_MS);
    say(`exported epoch ${exported.epoch}`);
    const failover = await cutAndGoOn(pair, 'a', epochs, say);
    const b = pair.host('b');
    await b.run(VERIFY_SAVE_FILE(FILE), LIMIT_MS);
    say("Xen's verifier accepts the file");
    await b.run('xl destroy guest', LIMIT_MS);
    const began = performance.now();
    await b.run(`xl restore ${FILE}`, LIMIT_MS);
    const restoreMs = Math.round(performance.now() - began);
    const console = new GuestConsole(b);
    const first = await console.tick();
    say(`xl restore takes the file, the guest is at tick ${first.tick}`);
    const { check } = await console.checkedAfter(first);
    const { epoch, sizeBytes } = exported;
    return { epoch, sizeBytes, restoreMs, tickAfter: first.tick, guestCheck: check, failover };
  } finally {
    pair.close();
  }
}
