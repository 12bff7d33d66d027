/** Proof that the old primary is dead (safety rule 15): a command of the operator's that ends with 0, or its watchdog's time. */

import { spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';

export interface FenceProof {
  proven: boolean;
  /** For the audit log. */
  detail: string;
}

export interface FenceCommand {
  /** Program and arguments; no shell. */
  command: readonly string[];
  timeoutMs: number;
}

/** Bytes of the command's output kept for the audit log. */
const MAX_OUTPUT_BYTES = 2000;

/** Waits until `untilMs` of this host's boot clock, when the silent peer's watchdog has reset it. */
export async function awaitWatchdog(untilMs: number, nowMs: () => number): Promise<FenceProof> {
  for (let leftMs = untilMs - nowMs(); leftMs > 0; leftMs = untilMs - nowMs()) await delay(leftMs);
  return { proven: true, detail: 'its watchdog has reset it by now' };
}

/**
 * Runs it with ROMULUS_VM, ROMULUS_PEER and ROMULUS_TERM in its environment. Whatever is not exit 0 in time is no proof;
 * never rejects.
 */
export function runFence(
  { command, timeoutMs }: FenceCommand,
  about: { vm: string; peer: string; term: number },
): Promise<FenceProof> {
  const [file = '', ...args] = command;
  const env = {
    ...process.env,
    ROMULUS_VM: about.vm,
    ROMULUS_PEER: about.peer,
    ROMULUS_TERM: String(about.term),
  };
  return new Promise((resolve) => {
    const child = spawn(file, args, {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    });
    let output = '';
    const take = (data: Buffer) => {
      output = (output + data.toString()).slice(-MAX_OUTPUT_BYTES);
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.once('error', (error) => resolve({ proven: false, detail: `${file}: ${error.message}` }));
    child.once('close', (code, signal) => {
      const how = code === null ? `was ended by ${signal} after ${timeoutMs} ms` : `ended with ${code}`;
      resolve({ proven: code === 0, detail: `${file} ${how}: ${output.trim()}` });
    });
  });
}
