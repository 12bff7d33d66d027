/** A gate whose process is stopped, or killed, lets nothing out late. */

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { engine } from '../../native/index.ts';
import { FakeNetdev } from '../support/netdev.ts';
import { datagramFrame, Outside } from '../support/tap.ts';

const TAP = 'romulus-test1';
const PROGRAM = fileURLToPath(new URL('../support/gate-process.ts', import.meta.url));
const PERMIT_MS = 100;
const LONG_PERMIT_MS = 60_000;

describe('a gate in a process', () => {
  let dir: string;
  let guest: FakeNetdev;
  let outside: Outside;
  let child: ChildProcess;
  let lines: Interface;
  let answers: AsyncIterator<string>;

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'romulus-gate-'));
    guest = await FakeNetdev.listen(join(dir, 'net0.sock'));
    child = spawn(process.execPath, ['--import', 'tsx', PROGRAM, TAP, guest.path], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
    answers = lines[Symbol.asyncIterator]();
    expect(await answer()).toBe('ready');
    outside = await Outside.on(TAP);
    await tell('attach');
  });
  afterEach(async () => {
    child.kill('SIGKILL');
    await outside.close();
    await guest.close();
    rmSync(dir, { recursive: true });
  });

  const answer = async () => (await answers.next()).value as string;
  const say = (line: string) => child.stdin?.write(`${line}\n`);
  async function tell(line: string): Promise<string> {
    say(line);
    return answer();
  }

  it('lets nothing out that was released before a stop and whose permit ran out meanwhile', async () => {
    await guest.send(datagramFrame('old'));
    expect(await tell('seal 1')).toBe('seal 1');
    child.kill('SIGSTOP');
    say(`release 1 ${engine().bootTimeMs() + PERMIT_MS}`);
    await delay(PERMIT_MS);
    child.kill('SIGCONT');
    expect(await answer()).toBe('release 1');
    await guest.send(datagramFrame('new'));
    expect(await tell('seal 2')).toBe('seal 2');
    expect(outside.heard).toEqual([]);
    await tell(`release 2 ${engine().bootTimeMs() + LONG_PERMIT_MS}`);
    expect(await outside.hears(2)).toEqual(['old', 'new']);
  });

  it('lets nothing out once it is killed, and takes nothing over to the next', async () => {
    await guest.send(datagramFrame('held'));
    expect(await tell('seal 1')).toBe('seal 1');
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
    expect(outside.heard).toEqual([]);
  });
});
