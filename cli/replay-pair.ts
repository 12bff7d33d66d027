/** A primary that replays a trace and its backup, in this process, over a real socket on loopback. */

import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { ReplayTarget } from '../backup/hypervisor/replay.ts';
import { listen } from '../backup/listener.ts';
import { Standby } from '../backup/standby.ts';
import { ReplaySource } from '../primary/hypervisor/replay.ts';
import { Replica } from '../primary/replica.ts';
import { TermFile } from '../shared/control/terms.ts';
import { RomulusError } from '../shared/errors.ts';
import { Samples } from '../shared/samples.ts';
import type { VmStatus } from '../shared/status.ts';

const VM = 'replay';
/** Reading a trace and comparing images may keep both sides silent for long. */
const SILENCE_MS = 30_000;
/** Epochs follow each other as fast as they are acknowledged and compared. */
const EPOCH_MS = 1;

export interface PairOptions {
  tracePath: string;
  ramBytes: number;
  threads: number;
  /** Compression is chosen as for a link of this rate. */
  linkBitsPerS: number;
  shadowShare?: number;
  /** The paused guest goes on to epoch `next` once this resolves. */
  beforeEpoch(next: number): Promise<void>;
  onEvent(kind: string, fields: Record<string, unknown>): void;
}

/** Notes when the guest was attached to, when its epoch's writes were done, and how long each capture then took. */
class TimedSource extends ReplaySource {
  attachedMs = 0;
  pausedMs = 0;
  readonly captureMs = new Samples();

  override async attach(): Promise<void> {
    await super.attach();
    this.attachedMs = performance.now();
  }

  override async pause(): Promise<void> {
    await super.pause();
    this.pausedMs = performance.now();
  }

  override async resume(): Promise<void> {
    this.captureMs.add(performance.now() - this.pausedMs);
    await super.resume();
  }
}

export class ReplayPair {
  readonly source: TimedSource;
  readonly standby: Standby;
  readonly #replica: Replica;
  readonly #dirs: string[];
  readonly #closeListener: () => Promise<void>;

  /** Opens both sides; start() begins. Image and journal lie in tmpfs where there is one, as an agent's would. */
  static async open(options: PairOptions): Promise<ReplayPair> {
    const dir = mkdtempSync(join(tmpdir(), 'romulus-replay-'));
    const imageRoot = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'romulus-replay-'));
    const log = pino({ level: 'silent' });
    const standby = new Standby({
      vm: VM,
      dataDir: join(dir, 'data'),
      imageDir: join(imageRoot, 'image'),
      runDir: join(dir, 'standby'),
      threads: options.threads,
      durability: 'memory',
      node: 'backup',
      overrides: {},
      openTarget: async () => new ReplayTarget(),
      term: await TermFile.open(join(dir, 'data', 'term')),
      log,
      onEvent: (kind, fields) => {
        if (kind === 'lost') options.onEvent('standby-lost', fields);
      },
    });
    const listener = await listen({
      listen: { host: '127.0.0.1', port: 0 },
      node: 'backup',
      silenceMs: SILENCE_MS,
      standbyFor: async () => standby,
    });
    const source = new TimedSource({
      tracePath: options.tracePath,
      runDir: join(dir, 'guest'),
      beforeEpoch: (next) => options.beforeEpoch(next),
    });
    const replica = new Replica(source, {
      node: 'primary',
      spec: {
        name: VM,
        hypervisor: 'replay',
        memoryBytes: options.ramBytes,
        cpus: 1,
        disk: options.tracePath,
      },
      peer: 'backup',
      address: listener.endpoint,
      epochMs: EPOCH_MS,
      windowEpochs: 1,
      threads: options.threads,
      protection: { failover: 'manual', onBackupLoss: 'hold', silenceMs: SILENCE_MS },
      term: await TermFile.open(join(dir, 'primary', 'term')),
      linkBitsPerS: options.linkBitsPerS,
      ...(options.shadowShare !== undefined && { shadowShare: options.shadowShare }),
      log,
      onEvent: options.onEvent,
    });
    return new ReplayPair({ source, standby, replica, dirs: [dir, imageRoot], close: listener.close });
  }

  private constructor(parts: {
    source: TimedSource;
    standby: Standby;
    replica: Replica;
    dirs: string[];
    close: () => Promise<void>;
  }) {
    this.source = parts.source;
    this.standby = parts.standby;
    this.#replica = parts.replica;
    this.#dirs = parts.dirs;
    this.#closeListener = parts.close;
  }

  start(): Promise<void> {
    return this.#replica.start();
  }

  status(): VmStatus {
    return this.#replica.status();
  }

  async close(): Promise<void> {
    await this.#replica.stop({ forget: false });
    await this.#closeListener();
    await this.standby.close();
    for (const dir of this.#dirs) rmSync(dir, { recursive: true, force: true });
  }
}

/** The error behind an event of either side that means replication broke; undefined for all others. */
export function breakage(kind: string, fields: Record<string, unknown>): RomulusError | undefined {
  const broken = kind === 'standby-lost' || (kind === 'state' && fields.state === 'DEGRADED');
  if (!broken) return undefined;
  const message = String(fields.message ?? fields.reason ?? 'replication broke');
  return RomulusError.fromJSON({ code: String(fields.code ?? 'INTERNAL'), message });
}
