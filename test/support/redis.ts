/** A redis-server of the test's own, on a unix socket in a temporary directory, with the witness's settings. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export class TestRedis {
  readonly directory: string;
  readonly socketPath: string;
  private readonly settings: string[];
  private process: ChildProcess | undefined;

  private constructor(directory: string, settings: string[]) {
    this.directory = directory;
    this.socketPath = join(directory, 'redis.sock');
    this.settings = settings;
  }

  /** `settings` are redis-server arguments put after, and so overriding, those of a safe witness. */
  static async start(...settings: string[]): Promise<TestRedis> {
    const redis = new TestRedis(await mkdtemp(join(tmpdir(), 'romulus-redis-')), settings);
    await redis.boot();
    return redis;
  }

  /** Starts the server on whatever the directory holds; resolves when it accepts connections. */
  async boot(): Promise<void> {
    const args = ['--port', '0', '--unixsocket', this.socketPath, '--dir', this.directory, '--save', ''];
    args.push('--appendonly', 'yes', '--appendfsync', 'always', '--maxmemory-policy', 'noeviction');
    const child = spawn('redis-server', [...args, ...this.settings], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.process = child;
    const lines = createInterface({ input: child.stdout });
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code) =>
        reject(new Error(`redis-server ended with ${code}: apt-get install redis-server`)),
      );
      lines.on('line', (line) => {
        if (/ready to accept connections|server is now ready/i.test(line)) resolve();
      });
    });
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.process?.kill(signal);
  }

  /** kill -9, as a power cut would end it. */
  async kill(): Promise<void> {
    const child = this.process;
    this.process = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  /** Removes its data, as a container without a volume does when it restarts. */
  async forgetEverything(): Promise<void> {
    await rm(join(this.directory, 'appendonlydir'), { recursive: true, force: true });
  }

  async stop(): Promise<void> {
    await this.kill();
    await rm(this.directory, { recursive: true, force: true });
  }
}
