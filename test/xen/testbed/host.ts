/** One Xen test host: a QEMU (TCG) machine running Xen and a Debian dom0 that serves commands over a shared directory. */

import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  bootedMachine,
  connectPort,
  EMULATOR,
  freshMachine,
  goOn,
  keepBooted,
  untilAnnounced,
} from './booted.ts';
import { emulatorArguments } from './emulator.ts';

export interface HostOptions {
  name: string;
  /** Directory of the run's files: console.log, commands/, pid. */
  runDir: string;
  /** Directory dom0 sees as /mnt/host, where commands start. */
  sharedDir: string;
  /** IPv4 address of dom0's eth0/24; needs `wire`. */
  address?: string;
  /** Sockets of the two ends of a wire to another host: ours, the peer's. */
  wire?: readonly [ours: string, peers: string];
  /** Memory for guests, where the usual 1024 is not right; such a host boots from the start, in a minute. */
  guestsMiB?: number;
  bootLimitMs?: number;
}

export interface CommandResult {
  status: number;
  output: string;
}

export class XenHost {
  readonly name: string;
  readonly runDir: string;
  readonly pid: number;
  readonly #emulator: ChildProcess;
  readonly #exited: Promise<void>;
  #commands = 0;
  #dead = false;

  private constructor(name: string, runDir: string, emulator: ChildProcess) {
    this.name = name;
    this.runDir = runDir;
    this.pid = emulator.pid as number;
    this.#emulator = emulator;
    this.#exited = new Promise((resolve) => {
      emulator.once('exit', () => {
        this.#dead = true;
        resolve();
      });
    });
  }

  /**
   * Resolves when dom0 serves commands, which it does soon: it goes on from the booted state. Throws with the end of the console
   * when it does not in time.
   */
  static async boot(options: HostOptions): Promise<XenHost> {
    const { name, runDir, address = '', bootLimitMs = 240_000 } = options;
    mkdirSync(join(runDir, 'commands'), { recursive: true });
    writeFileSync(join(runDir, 'env'), `HOST_NAME=${name}\nHOST_IP=${address}\nHOST_MAC=${macOf(address)}\n`);
    if (options.guestsMiB === undefined) await keepBooted();
    const machine = options.guestsMiB === undefined ? bootedMachine() : freshMachine();
    const emulator = spawn(EMULATOR, emulatorArguments({ ...machine, ...options }), {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    const host = new XenHost(name, runDir, emulator);
    writeFileSync(join(runDir, 'pid'), String(host.pid));
    try {
      if (machine.goesOn) await goOn(runDir);
      const deadline = Date.now() + bootLimitMs;
      const port = await (machine.goesOn ? connectPort(runDir) : untilAnnounced(runDir, bootLimitMs));
      port.end(`${Math.round(Date.now() / 1000)} ${randomBytes(32).toString('hex')}\n`);
      while (!existsSync(join(runDir, 'alive'))) {
        if (host.#dead || Date.now() > deadline) throw new Error('it is not up in time');
        await delay(100);
      }
      return host;
    } catch (cause) {
      host.kill();
      throw new Error(`${name} did not boot; its console ends:\n${host.consoleTail()}`, { cause });
    }
  }

  /** Starts a command in dom0's bash; its number serves output() and finished(). */
  start(command: string): number {
    this.#commands += 1;
    const at = join(this.runDir, 'commands', String(this.#commands));
    mkdirSync(at);
    writeFileSync(join(at, 'part'), `${command}\n`);
    renameSync(join(at, 'part'), join(at, 'command'));
    return this.#commands;
  }

  /** What the command has printed so far, stdout and stderr together. */
  output(command: number): string {
    const file = join(this.runDir, 'commands', String(command), 'output');
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }

  /** Whether the command has come to its end. */
  ended(command: number): boolean {
    return existsSync(join(this.runDir, 'commands', String(command), 'status'));
  }

  async finished(command: number, limitMs = 120_000): Promise<CommandResult> {
    const status = join(this.runDir, 'commands', String(command), 'status');
    const deadline = Date.now() + limitMs;
    while (!existsSync(status)) {
      if (this.#dead) throw new Error(`${this.name} died; its console ends:\n${this.consoleTail()}`);
      if (Date.now() > deadline)
        throw new Error(
          `${this.name}: command ${command} took more than ${limitMs} ms:\n${this.output(command)}`,
        );
      await delay(50);
    }
    return { status: Number(readFileSync(status, 'utf8')), output: this.output(command) };
  }

  /** Runs a command to its end and returns its output; throws if its status is not 0. */
  async run(command: string, limitMs?: number): Promise<string> {
    const result = await this.finished(this.start(command), limitMs);
    if (result.status !== 0)
      throw new Error(`${this.name}: "${command}" exited with ${result.status}:\n${result.output}`);
    return result.output;
  }

  /** Resolves once a running command has printed a match. */
  async printed(command: number, pattern: RegExp, limitMs = 120_000): Promise<RegExpMatchArray> {
    const deadline = Date.now() + limitMs;
    for (;;) {
      const match = this.output(command).match(pattern);
      if (match !== null) return match;
      if (Date.now() > deadline)
        throw new Error(
          `${this.name}: command ${command} did not print ${pattern} in ${limitMs} ms:\n${this.output(command)}`,
        );
      await delay(50);
    }
  }

  consoleTail(): string {
    const file = join(this.runDir, 'console.log');
    return existsSync(file) ? readFileSync(file, 'latin1').slice(-4000) : '(nothing)';
  }

  /** The power plug: no shutdown, no goodbye on the network. */
  kill(): void {
    this.#emulator.kill('SIGKILL');
  }

  async powerOff(): Promise<void> {
    writeFileSync(join(this.runDir, 'off'), '');
    await Promise.race([this.#exited, delay(20_000, undefined, { ref: false })]);
    this.kill();
    await this.#exited;
  }
}

/** Of its own for each address, since all hosts go on from one state. */
function macOf(address: string): string {
  const digest = createHash('md5').update(address).digest('hex');
  return `52:54:00:${digest.slice(0, 2)}:${digest.slice(2, 4)}:${digest.slice(4, 6)}`;
}
