/** A primary and a backup in one process, over a real socket on loopback, around a synthetic guest. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { listen } from '../../backup/listener.ts';
import { Standby } from '../../backup/standby.ts';
import type { StandbyOptions } from '../../backup/standby-options.ts';
import { Replica } from '../../primary/replica.ts';
import type { ReplicaOptions } from '../../primary/replica-options.ts';
import type { Endpoint } from '../../shared/config.ts';
import { TermFile } from '../../shared/control/terms.ts';
import type { AgentEvent } from '../../shared/status.ts';
import type { AgentTlsOptions } from '../../shared/tls.ts';
import type { VmSpec } from '../../shared/vm.ts';
import { type SyntheticLoad, SyntheticSource, SyntheticTarget } from './synthetic.ts';
import { temporaryDir } from './temporary.ts';

/** Generous: on a loaded machine a second of silence is no sign of death. */
export const SILENCE_MS = 10_000;
export const RAM_BYTES = 16 * 1024 * 1024;

/** Events of one side, with waiting for the next that fits. */
export class EventTrail {
  readonly seen: AgentEvent[] = [];
  #waiting: { fits: (event: AgentEvent) => boolean; resolve: (event: AgentEvent) => void }[] = [];

  readonly record = (kind: string, fields: Record<string, unknown>): void => {
    const event: AgentEvent = { time: '', vm: '', kind, ...fields };
    this.seen.push(event);
    this.#waiting = this.#waiting.filter((waiter) => {
      if (!waiter.fits(event)) return true;
      waiter.resolve(event);
      return false;
    });
  };

  /** The next event (from now on) that fits. */
  next(fits: (event: AgentEvent) => boolean): Promise<AgentEvent> {
    return new Promise((resolve) => this.#waiting.push({ fits, resolve }));
  }

  state(state: string): Promise<AgentEvent> {
    return this.next((event) => event.kind === 'state' && event.state === state);
  }

  commits(count: number): Promise<AgentEvent> {
    let left = count;
    return this.next((event) => event.kind === 'commit' && --left === 0);
  }
}

export class Backup {
  readonly dir: string;
  readonly trail = new EventTrail();
  target = new SyntheticTarget();
  /** The guest's disk on this side, for a guest that has one. */
  openDisk: StandbyOptions['openDisk'];
  /** Asked for the VM, if there is one. */
  register: StandbyOptions['register'];
  fenceOf: StandbyOptions['fenceOf'];
  standby: Standby | undefined;
  endpoint: Endpoint = { host: '127.0.0.1', port: 0 };
  #close: () => Promise<void> = async () => {};

  constructor(dir = mkdtempSync(join(tmpdir(), 'romulus-backup-'))) {
    this.dir = dir;
  }

  /** Opens the port (the same again after a stop) and takes up what an earlier run left. */
  async start(tls?: AgentTlsOptions | (() => AgentTlsOptions)): Promise<void> {
    this.standby = new Standby({
      vm: 'vm',
      dataDir: join(this.dir, 'data'),
      imageDir: join(this.dir, 'image'),
      runDir: join(this.dir, 'run'),
      threads: 2,
      durability: 'memory',
      node: 'beta',
      overrides: {},
      openTarget: async () => this.target,
      ...(this.openDisk && { openDisk: this.openDisk }),
      ...(this.register && { register: this.register }),
      ...(this.fenceOf && { fenceOf: this.fenceOf }),
      term: await TermFile.open(join(this.dir, 'data', 'term')),
      log: pino({ level: 'silent' }),
      onEvent: this.trail.record,
    });
    await this.standby.recover();
    const standby = this.standby;
    const listener = await listen({
      listen: this.endpoint,
      node: 'beta',
      silenceMs: SILENCE_MS,
      standbyFor: async () => standby,
      ...(tls && { tls: typeof tls === 'function' ? tls : () => tls }),
    });
    this.endpoint = listener.endpoint;
    this.#close = listener.close;
  }

  async stop(): Promise<void> {
    await this.#close();
    await this.standby?.close();
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export const spec: VmSpec = { name: 'vm', hypervisor: 'replay', memoryBytes: RAM_BYTES, cpus: 1 };

export class Primary {
  readonly trail = new EventTrail();
  readonly source: SyntheticSource;
  readonly replica: Replica;
  readonly term: TermFile;

  /** Its records live and die with it. */
  static async create(
    address: Endpoint,
    load: Partial<SyntheticLoad> = {},
    options: Partial<ReplicaOptions> = {},
    source?: SyntheticSource,
  ): Promise<Primary> {
    const dir = temporaryDir('primary');
    const term = options.term ?? (await TermFile.open(join(dir, 'term')));
    return new Primary(address, load, { ...options, term }, source);
  }

  private constructor(
    address: Endpoint,
    load: Partial<SyntheticLoad>,
    options: Partial<ReplicaOptions> & Pick<ReplicaOptions, 'term'>,
    source: SyntheticSource | undefined,
  ) {
    this.term = options.term;
    this.source =
      source ?? new SyntheticSource(RAM_BYTES, { seed: 1, pagesPerEpoch: 200, wholeShare: 0.1, ...load });
    this.replica = new Replica(this.source, {
      node: 'alpha',
      spec,
      peer: 'beta',
      address,
      epochMs: 10,
      windowEpochs: 4,
      threads: 2,
      protection: { failover: 'manual', onBackupLoss: 'hold', silenceMs: SILENCE_MS },
      log: pino({ level: 'silent' }),
      onEvent: this.trail.record,
      ...options,
    });
  }
}
