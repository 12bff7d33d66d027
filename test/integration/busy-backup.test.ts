/** A backup whose own event loop stood still takes none of it for silence of a primary that went on talking. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { BackupDriver, type Promotion } from '../../backup/authority-driver.ts';
import { MemoryRegister } from '../../shared/control/memory-register.ts';
import { policyOf } from '../../shared/control/policy.ts';
import { TermFile } from '../../shared/control/terms.ts';

/** Its process, too, waits for a processor where all are busy. */
const SILENCE_MS = 1000;
const STALL_MS = 2 * SILENCE_MS;
const TERM = 1;

let dir: string;
let primary: ChildProcess;
let driver: BackupDriver;
let promoted: Promise<Promotion>;
let promotions: number;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'romulus-busy-'));
  const register = new MemoryRegister();
  await register.compareAndSet('web', undefined, { term: TERM, owner: 'a', mode: 'PROTECTED', syncEpoch: 1 });
  const term = await TermFile.open(join(dir, 'term'));
  await term.save({ term: TERM, role: 'backup', epoch: 0 });
  promotions = 0;
  promoted = new Promise((resolve) => {
    driver = new BackupDriver({
      party: { vm: 'web', self: 'b', peer: 'a' },
      policy: policyOf(
        { failover: 'auto', onBackupLoss: 'solo', silenceMs: SILENCE_MS },
        { witness: true, fence: false },
      ),
      term,
      image: { whole: true, term: TERM, epoch: 7 },
      register,
      log: pino({ level: 'silent' }),
      hands: {
        ack: () => {},
        answer: () => {},
        reject: () => {},
        promote: async (promotion) => {
          promotions += 1;
          resolve(promotion);
        },
        proveFenced: undefined,
        onChange: () => {},
        onEvent: () => {},
      },
    });
  });
  // It talks from a process of its own, whatever this one does.
  primary = spawn(process.execPath, ['-e', "setInterval(() => process.stdout.write('.'), 20)"]);
  primary.stdout?.on('data', () => driver.heard(TERM));
  await once(primary.stdout as NodeJS.ReadableStream, 'data');
});

afterEach(() => {
  driver.stop();
  primary.kill('SIGKILL');
  rmSync(dir, { recursive: true, force: true });
});

/** Beats that are heard after now. */
async function beats(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await once(primary.stdout as NodeJS.ReadableStream, 'data');
}

it('goes on standing by after it stood still, and promotes when the primary is silent indeed', async () => {
  await beats(40); // longer than the promise that a start waits out
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, STALL_MS);
  await beats(10);
  expect([promotions, driver.state.phase]).toEqual([0, 'STANDBY']);
  primary.kill('SIGKILL');
  expect(await promoted).toMatchObject({ term: TERM + 1, epoch: 7 });
});
