/** An agent as a process of its own, with its own folders and port, for the demo, the benchmarks and the tests. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { RomulusError } from '../../shared/errors.ts';
import { AgentClient } from '../client.ts';

const START_TIMEOUT_MS = 60_000;
const POLL_MS = 25;

export interface AgentFolders {
  dir: string;
  config: string;
  log: string;
  runDir: string;
  imageDir: string;
}

export class AgentProcess {
  readonly name: string;
  port: number;
  readonly folders: AgentFolders;
  readonly client: AgentClient;
  /** What its command line begins with: `ip netns exec NAME` for an agent in a network of its own. */
  launcher: string[] = [];
  /** Where it listens; another address than loopback takes certificates. */
  host = '127.0.0.1';
  /** By what others reach it, where that is not the same for all. */
  addressFrom: (other: string) => string = () => this.host;
  #child: ChildProcess | undefined;

  private constructor(name: string, port: number, dir: string, imageDir: string) {
    this.name = name;
    this.port = port;
    const runDir = join(dir, 'run');
    this.folders = { dir, config: join(dir, 'agent.yaml'), log: join(dir, 'agent.log'), runDir, imageDir };
    this.client = new AgentClient(join(runDir, 'agent.sock'));
  }

  /** Makes the folders and finds a free port; nothing runs yet. */
  static async create(name: string, dir: string, imageDir: string): Promise<AgentProcess> {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    return new AgentProcess(name, await freePort(), dir, imageDir);
  }

  /** Writes agent.yaml: this node, its peer, its VMs, and what else is set, as the config file spells them. */
  configure(
    peer: AgentProcess | undefined,
    vms: Record<string, object>,
    settings: { fence?: string[] } & Record<string, unknown> = {},
  ): void {
    const { dir, runDir, imageDir, config } = this.folders;
    const { fence, ...rest } = settings;
    const address = peer && `${peer.addressFrom(this.name)}:${peer.port}`;
    const peers = peer ? { [peer.name]: { address, ...(fence && { fence }) } } : {};
    const listen = `${this.host}:${this.port}`;
    const document = {
      node: this.name,
      dataDir: join(dir, 'data'),
      imageDir,
      runDir,
      listen,
      peers,
      vms,
      ...rest,
    };
    writeFileSync(config, stringify(document), { mode: 0o600 });
  }

  /** Starts the agent and waits until its API answers. `env` may arm a crash point. */
  async start(env: NodeJS.ProcessEnv = {}): Promise<void> {
    const log = openSync(this.folders.log, 'a');
    const main = fileURLToPath(new URL('../main.ts', import.meta.url)).replace(
      /\/dist\/cli\/main\.ts$/,
      '/dist/cli/main.js',
    );
    const hook = import.meta.url.endsWith('.ts') ? ['--import', 'tsx'] : [];
    const agent = [process.execPath, ...hook, main, 'agent', '--config', this.folders.config];
    const [file = '', ...args] = [...this.launcher, ...agent];
    const child = spawn(file, args, {
      stdio: ['ignore', 'ignore', log],
      env: { ...process.env, ROMULUS_CRASH_AT: undefined, ...env },
    });
    closeSync(log);
    this.#child = child;
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (performance.now() < deadline && child.exitCode === null && child.signalCode === null) {
      if (
        await this.client.status().then(
          () => true,
          () => false,
        )
      )
        return;
      await delay(POLL_MS);
    }
    if (child.signalCode === 'SIGKILL' && env.ROMULUS_CRASH_AT) return; // it died where it was told to
    throw new RomulusError('AGENT_UNREACHABLE', `agent ${this.name} did not come up`, {
      hint: `its log ends: ${this.logTail()}`,
    });
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new RomulusError('INTERNAL', `agent ${this.name} was never started`);
    return pid;
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Ends the agent and waits until it is gone. */
  async end(signal: NodeJS.Signals): Promise<void> {
    if (!this.running) return;
    this.#child?.kill(signal);
    await this.ended();
  }

  /** Resolves when the agent is gone, whoever ended it. */
  async ended(): Promise<void> {
    if (this.running && this.#child) await once(this.#child, 'exit');
  }

  /** Process id of the QEMU that runs (or stands by) for a VM, as its record says; undefined when there is none. */
  qemuPid(vm: string): number | undefined {
    try {
      const record = readFileSync(join(this.folders.runDir, vm, 'qemu.json'), 'utf8');
      return (JSON.parse(record) as { pid: number }).pid;
    } catch {
      return undefined;
    }
  }

  /** The power plug of this host: agent and hypervisors die in the same instant, with no word to anybody. */
  async pullPlug(): Promise<void> {
    const guests = this.#qemuPids();
    process.kill(this.pid, 'SIGKILL');
    killAll(guests);
    await this.ended();
  }

  /** Ends the agent, and every hypervisor it left. */
  async clear(): Promise<void> {
    await this.end('SIGKILL');
    killAll(this.#qemuPids());
  }

  #qemuPids(): number[] {
    const { runDir } = this.folders;
    const vms = existsSync(runDir) ? readdirSync(runDir) : [];
    return vms.flatMap((vm) => this.qemuPid(vm) ?? []);
  }

  logTail(): string {
    return readFileSync(this.folders.log, 'utf8').trimEnd().split('\n').slice(-3).join(' | ');
  }
}

/** One that a record names may be gone already, as the demo's primary is. */
function killAll(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'ESRCH') throw thrown;
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new RomulusError('INTERNAL', 'no free port');
  return address.port;
}
