/** A QEMU process in its own session, which outlives the agent that started it, and the record by which the next one finds it. */

import { spawn } from 'node:child_process';
import { closeSync, openSync, writeSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { RomulusError } from '../errors.ts';
import type { VmSpec } from '../vm.ts';
import { preloadEnv, type QemuRole, qemuArgs, qemuBinary } from './qemu-args.ts';
import { QmpClient } from './qmp.ts';

const START_TIMEOUT_MS = 15_000;
const LOG_TAIL_LINES = 5;
const DEATH_POLL_MS = 5;

/** Pid and start time together name one process for as long as the host is up; a pid alone is given out again. */
export interface QemuProcess {
  pid: number;
  /** Clock ticks since boot, from /proc/PID/stat. */
  startTime: string;
}

interface QemuRecord extends QemuProcess {
  vm: string;
  args: string[];
}

/** Starts QEMU detached, with the preload library, and connects to it. HV_START carries the end of its log. */
export async function startQemu(
  spec: VmSpec,
  role: QemuRole,
  preloadPath: string,
): Promise<{ process: QemuProcess; qmp: QmpClient }> {
  const { files } = role;
  const args = qemuArgs(spec, role);
  await mkdir(files.dir, { recursive: true, mode: 0o700 });
  for (const stale of [files.qmp, files.keeperQmp, files.dirtyLog, files.fenced, files.incoming, files.log]) {
    await rm(stale, { force: true });
  }
  const exited = new AbortController();
  const pid = await spawnDetached(args, files.log, preloadEnv(preloadPath, role), exited);
  const process: QemuProcess = { pid, startTime: (await startTimeOf(pid)) ?? '' };
  const record: QemuRecord = { vm: spec.name, ...process, args };
  await writeFile(`${files.record}.new`, JSON.stringify(record));
  await rename(`${files.record}.new`, files.record);
  try {
    return {
      process,
      qmp: await QmpClient.connect(files.qmp, { timeoutMs: START_TIMEOUT_MS, signal: exited.signal }),
    };
  } catch (cause) {
    await killQemu(process);
    throw new RomulusError('HV_START', `QEMU did not start: ${await logTail(files.log)}`, {
      cause,
      hint: `read ${files.log}; romulus doctor`,
    });
  }
}

/** The process a predecessor started in this directory, if it still lives. */
export async function findQemu(recordPath: string): Promise<QemuProcess | undefined> {
  const text = await readFile(recordPath, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const { pid, startTime } = JSON.parse(text) as QemuRecord;
  return (await isAlive({ pid, startTime })) ? { pid, startTime } : undefined;
}

/** The arguments the recorded process was started with, as JSON. */
export async function recordedArgs(recordPath: string): Promise<string> {
  return JSON.stringify((JSON.parse(await readFile(recordPath, 'utf8')) as QemuRecord).args);
}

export async function identifyProcess(pid: number): Promise<QemuProcess | undefined> {
  const startTime = await startTimeOf(pid);
  return startTime === undefined ? undefined : { pid, startTime };
}

export async function isAlive(qemu: QemuProcess): Promise<boolean> {
  return (await startTimeOf(qemu.pid)) === qemu.startTime;
}

/** Kills it and waits until it is gone, so that its memory and sockets are free. */
export async function killQemu(qemu: QemuProcess): Promise<void> {
  while (await isAlive(qemu)) {
    try {
      process.kill(qemu.pid, 'SIGKILL');
    } catch {
      return;
    }
    await delay(DEATH_POLL_MS);
  }
}

/** The last lines QEMU printed, as one line. */
export async function logTail(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text.trim().split('\n').slice(-LOG_TAIL_LINES).join(' | ') || 'it printed nothing';
}

function spawnDetached(
  args: string[],
  logPath: string,
  env: Record<string, string>,
  exited: AbortController,
): Promise<number> {
  // Open until QEMU ends: its last line goes into the same file even if that has been removed meanwhile.
  const log = openSync(logPath, 'a', 0o600);
  const child = spawn(qemuBinary(), args, {
    detached: true,
    stdio: ['ignore', log, log],
    env: { ...process.env, ...env },
  });
  child.once('exit', (code, signal) => {
    exited.abort();
    try {
      writeSync(log, `romulus: QEMU ended with ${signal ?? `exit code ${code}`}\n`);
    } catch {
      // a full disk: the line would have helped people, nothing depends on it
    }
    closeSync(log);
  });
  child.unref();
  return new Promise((resolve, reject) => {
    child.once('spawn', () => resolve(child.pid as number));
    child.once('error', (cause) => {
      if (child.pid !== undefined) return; // it runs: a signal could not be sent, say
      closeSync(log);
      const hint = 'apt-get install qemu-system-x86';
      reject(
        new RomulusError('PREREQUISITE', `cannot run ${qemuBinary()}: ${cause.message}`, { hint, cause }),
      );
    });
  });
}

/** Undefined for a process that is gone or a zombie. */
async function startTimeOf(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}
