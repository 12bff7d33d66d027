/** A redis-server of one's own with the settings of a witness, for lab and tests: killed, frozen, restarted as they please. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { RomulusError } from '../../shared/errors.ts';

export interface WitnessOptions {
  /** redis-server arguments put after, and so overriding, those of a safe witness. */
  settings?: string[];
  /** What its command line begins with, as `ip netns exec NAME`. */
  launcher?: string[];
  /** Listens there too; without one, on its unix socket alone. */
  tcp?: { host: string; port: number };
}

export class LabWitness {
  readonly directory: string;
  readonly socketPath: string;
  readonly #options: WitnessOptions;
  #process: ChildProcess | undefined;

  private constructor(directory: string, options: WitnessOptions) {
    this.directory = directory;
    this.socketPath = join(directory, 'redis.sock');
    this.#options = options;
  }

  static async start(options: WitnessOptions = {}): Promise<LabWitness> {
    const witness = new LabWitness(await mkdtemp(join(tmpdir(), 'romulus-redis-')), options);
    await witness.boot();
    return witness;
  }

  /** Starts the server on whatever the directory holds; resolves when it accepts connections. */
  async boot(): Promise<void> {
    const { settings = [], launcher = [], tcp } = this.#options;
    const args = ['--unixsocket', this.socketPath, '--dir', this.directory, '--save', ''];
    if (tcp === undefined) args.push('--port', '0');
    else args.push('--port', String(tcp.port), '--bind', tcp.host, '--protected-mode', 'no');
    args.push('--appendonly', 'yes', '--appendfsync', 'always', '--maxmemory-policy', 'noeviction');
    const [file = '', ...rest] = [...launcher, 'redis-server', ...args, ...settings];
    const child = spawn(file, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#process = child;
    const lines = createInterface({ input: child.stdout });
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code) =>
        reject(
          new RomulusError('PREREQUISITE', `redis-server ended with ${code}`, {
            hint: 'apt-get install redis-server',
          }),
        ),
      );
      lines.on('line', (line) => {
        if (/ready to accept connections|server is now ready/i.test(line)) resolve();
      });
    });
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#process?.kill(signal);
  }

  /** kill -9, as a power cut would end it. */
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  /** Removes its data, as a container without a volume does when it restarts. */
  async forgetEverything(): Promise<void> {
    await rm(this.#dataDir, { recursive: true, force: true });
  }

  /** Keeps a copy of its data as it is now; `restore` loses whatever is written in between. */
  async keep(): Promise<{ restore(): Promise<void> }> {
    const copy = await mkdtemp(join(tmpdir(), 'romulus-redis-kept-'));
    for (const file of await readdir(this.#dataDir))
      await copyFile(join(this.#dataDir, file), join(copy, file));
    return {
      restore: async () => {
        await this.forgetEverything();
        await mkdir(this.#dataDir);
        for (const file of await readdir(copy)) await copyFile(join(copy, file), join(this.#dataDir, file));
        await rm(copy, { recursive: true, force: true });
      },
    };
  }

  /** Kills it and removes its directory. */
  async stop(): Promise<void> {
    await this.kill();
    await rm(this.directory, { recursive: true, force: true });
  }

  get #dataDir(): string {
    return join(this.directory, 'appendonlydir');
  }
}
