/** One Xen test host: a QEMU (TCG) machine running Xen and a Debian dom0 that serves commands over a shared directory. */

import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

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
  dom0MiB?: number;
  guestsMiB?: number;
  bootLimitMs?: number;
}

export interface CommandResult {
  status: number;
  output: string;
}

/** Where build.sh puts what hosts boot from. */
export function testbedCache(): string {
  return join(process.env.ROMULUS_CACHE ?? join(homedir(), '.cache/romulus'), 'xen');
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

  /** Resolves when dom0 serves commands; throws with the end of the console when it does not boot in time. */
  static async boot(options: HostOptions): Promise<XenHost> {
    const { name, runDir } = options;
    mkdirSync(join(runDir, 'commands'), { recursive: true });
    writeFileSync(join(runDir, 'env'), `HOST_NAME=${name}\nHOST_IP=${options.address ?? ''}\n`);
    const emulator = spawn('qemu-system-x86_64', emulatorArguments(options), {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    const host = new XenHost(name, runDir, emulator);
    writeFileSync(join(runDir, 'pid'), String(host.pid));
    const deadline = Date.now() + (options.bootLimitMs ?? 240_000);
    while (!existsSync(join(runDir, 'alive'))) {
      if (host.#dead || Date.now() > deadline) {
        host.kill();
        throw new Error(`${name} did not boot; its console ends:\n${host.consoleTail()}`);
      }
      await delay(200);
    }
    return host;
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

function emulatorArguments(options: HostOptions): string[] {
  const cache = testbedCache();
  const dom0MiB = options.dom0MiB ?? 1024;
  const share = (path: string, tag: string): string[] => [
    '-virtfs',
    `local,path=${path},mount_tag=${tag},security_model=none,multidevs=remap`,
  ];
  // One processor: with two, an emulator that gets little time spends all of it on the timers of both.
  const args = ['-machine', 'q35', '-accel', 'tcg', '-smp', '1', '-nodefaults', '-no-reboot'];
  // Under TCG a PV dom0 does not survive SMAP and SMEP, and Xen's TSC intercepts do not work with RDTSCP.
  args.push('-cpu', 'max,-smap,-smep,-rdtscp', '-m', String(dom0MiB + (options.guestsMiB ?? 1024) + 256));
  args.push('-display', 'none', '-serial', `file:${join(options.runDir, 'console.log')}`);
  // Lazy FPU switching, Xen's default on AMD, mixes up the vector registers of dom0 and the guests under TCG.
  const xen = `console=com1 com1=115200,8n1 dom0_mem=${dom0MiB}M,max:${dom0MiB}M spec-ctrl=eager-fpu`;
  args.push('-kernel', join(cache, 'xen'), '-append', `${xen} loglvl=warning guest_loglvl=warning`);
  const dom0 = 'root=/dev/vda rw init=/sbin/testbed-init console=hvc0 net.ifnames=0 quiet';
  args.push('-initrd', `${join(cache, 'vmlinuz')} ${dom0},${join(cache, 'dom0.initrd')}`);
  args.push('-drive', `file=${join(cache, 'dom0.img')},format=raw,if=virtio,snapshot=on`);
  args.push(...share(options.sharedDir, 'host'), ...share(options.runDir, 'run'));
  if (options.wire !== undefined && options.address !== undefined) {
    const [ours, peers] = options.wire;
    const digest = createHash('md5').update(options.address).digest('hex');
    const mac = `52:54:00:${digest.slice(0, 2)}:${digest.slice(2, 4)}:${digest.slice(4, 6)}`;
    args.push(
      '-netdev',
      `dgram,id=wire,local.type=unix,local.path=${ours},remote.type=unix,remote.path=${peers}`,
    );
    args.push('-device', `virtio-net-pci,netdev=wire,mac=${mac},romfile=`);
  }
  return args;
}
