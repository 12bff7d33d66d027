/** Two hosts in miniature on this machine: two agents as processes, and a real QEMU guest between them. */

import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildGuest, type GuestWorkload } from '../../guest/build.ts';
import { buildPostgresDisk } from '../../guest/postgres.ts';
import { RomulusError } from '../../shared/errors.ts';
import type { AgentEvent, FailoverResult, VmStatus } from '../../shared/status.ts';
import { makeCertificates } from '../certificates.ts';
import { AgentProcess } from './agent-process.ts';
import type { Links } from './links.ts';
import { GUEST_PREFIXED, type Segment } from './segment.ts';
import type { LabWitness } from './witness.ts';

export const VM = 'demo';
const TMPFS = '/dev/shm';
/** Longest wait for an event of an agent, on a loaded machine. */
const WATCH_TIMEOUT_MS = 90_000;

export interface LabOptions {
  memoryMiB?: number;
  epochMs: number;
  workload?: GuestWorkload;
  /** Gives the guest a replicated disk of this size for `workload.diskOperationsPerSecond`; `workload.database` brings its own. */
  diskMiB?: number;
  /** Gives the guest a disk, after the replicated one, that QEMU opens by itself and nobody replicates: for comparison. */
  plainDiskMiB?: number;
  /** Gives the guest a network with services on it; the segment goes with the lab. */
  segment?: Segment;
  /** With it, failover is automatic unless `vm` says otherwise. */
  witness?: LabWitness;
  /** Further keys of both agents' configs, and of the VM in them. */
  agent?: Record<string, unknown>;
  vm?: Record<string, unknown>;
  /** The hosts and the witness in networks of their own; for the network to be cut. */
  links?: Links<HostName>;
}

/** The hosts of a lab whose links can be cut. */
export type HostName = 'alpha' | 'beta' | 'w';

const AGENT_PORT = 7400;
export const WITNESS_PORT = 6379;

export class Lab {
  readonly dir: string;
  readonly imageRoot: string;
  readonly primary: AgentProcess;
  readonly backup: AgentProcess;
  readonly segment: Segment | undefined;

  private constructor(
    dir: string,
    imageRoot: string,
    primary: AgentProcess,
    backup: AgentProcess,
    segment: Segment | undefined,
  ) {
    this.dir = dir;
    this.imageRoot = imageRoot;
    this.primary = primary;
    this.backup = backup;
    this.segment = segment;
  }

  /** Builds the guest if need be and lays out both hosts; nothing runs yet. */
  static async create(options: LabOptions): Promise<Lab> {
    const { segment } = options;
    const guest = await buildGuest(options.workload, segment && { address: GUEST_PREFIXED });
    // Short paths: unix sockets end at 107 bytes.
    const dir = mkdtempSync(join(tmpdir(), 'rom-'));
    const imageRoot = mkdtempSync(join(TMPFS, 'rom-'));
    const primary = await AgentProcess.create('alpha', join(dir, 'a'), join(imageRoot, 'a'));
    const backup = await AgentProcess.create('beta', join(dir, 'b'), join(imageRoot, 'b'));
    const hasDisk = options.diskMiB !== undefined || options.workload?.database === true;
    const vm = {
      hypervisor: 'qemu',
      memory: `${options.memoryMiB ?? 256}MiB`,
      cpus: 1,
      kernel: guest.kernel,
      initrd: guest.initrd,
      append: guest.append,
      epoch: `${options.epochMs}ms`,
      ...options.vm,
    };
    const on = (side: 'a' | 'b') => ({
      [VM]: {
        ...vm,
        serialLog: join(dir, side, 'serial.log'),
        ...(options.plainDiskMiB !== undefined && { extraArgs: plainDisk(dir) }),
        ...(hasDisk && { disk: diskImage(dir, side) }),
        ...(segment && { networks: [segment.network(side)] }),
      },
    });
    const settings = [await placeAgent(primary, options, dir), await placeAgent(backup, options, dir)];
    primary.configure(backup, on('a'), settings[0]);
    backup.configure(primary, on('b'), settings[1]);
    if (options.workload?.database) copyImage(await buildPostgresDisk(), diskImage(dir, 'a'));
    else if (options.diskMiB !== undefined) makeImage(diskImage(dir, 'a'), options.diskMiB);
    if (options.plainDiskMiB !== undefined) makeImage(plainDiskImage(dir), options.plainDiskMiB);
    return new Lab(dir, imageRoot, primary, backup, segment);
  }

  /** A host's image of the guest's disk; the backup makes its own. */
  diskImage(side: 'a' | 'b'): string {
    return diskImage(this.dir, side);
  }

  /** The agent on which the guest runs by right, by its own word; undefined while there is none. */
  async active(): Promise<AgentProcess | undefined> {
    for (const agent of [this.primary, this.backup]) {
      const status = agent.running ? await agent.client.vm(VM).catch(() => undefined) : undefined;
      if (status?.state === 'ACTIVE' || (status?.role === 'primary' && status.authority !== 'FENCED'))
        return agent;
    }
    return undefined;
  }

  serialLog(side: 'a' | 'b'): string {
    return join(this.dir, side, 'serial.log');
  }

  async start(): Promise<void> {
    await Promise.all([this.primary.start(), this.backup.start()]);
  }

  /** Protects the guest and resolves once it is PROTECTED; `onSync` sees the progress of the initial copy. */
  async protect(onSync: (status: VmStatus) => void = () => {}): Promise<void> {
    await this.primary.client.protect({ vm: VM, to: this.backup.name });
    await this.watch(
      this.primary,
      (event) => event.kind === 'state' && event.state === 'PROTECTED',
      async () => {
        const status = await this.primary.client.vm(VM);
        onSync(status);
        return status.state === 'PROTECTED';
      },
    );
  }

  /** Follows an agent's events until one fits; `already` is asked once the stream is open, so that nothing is missed. */
  async watch(
    agent: AgentProcess,
    fits: (event: AgentEvent) => boolean,
    already?: () => Promise<boolean>,
  ): Promise<AgentEvent | undefined> {
    const stop = new AbortController();
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      stop.abort();
    }, WATCH_TIMEOUT_MS);
    try {
      const events = await agent.client.openEvents(stop.signal);
      if (already && (await already())) return undefined;
      for await (const event of events) if (fits(event)) return event;
      throw new RomulusError('AGENT_UNREACHABLE', `agent ${agent.name} ended`, {
        hint: `its log ends: ${agent.logTail()}`,
      });
    } catch (thrown) {
      if (!late) throw thrown;
      const status = JSON.stringify(await agent.client.status());
      throw new RomulusError(
        'DEGRADED',
        `what was waited for on ${agent.name} did not happen; its status: ${status}`,
      );
    } finally {
      clearTimeout(timer);
      stop.abort();
    }
  }

  /** A power cut of one host, and the operator's failover to the other once that has noticed. */
  async failOver(from: AgentProcess, to: AgentProcess): Promise<FailoverResult> {
    const lost = this.watch(
      to,
      (event) => event.kind === 'lost',
      async () => {
        await from.pullPlug();
        return false;
      },
    );
    await lost;
    return to.client.failover({ vm: VM });
  }

  /** The dead host's agent comes back as the backup of the guest that was promoted on the other; resolves when PROTECTED. */
  async swap(from: AgentProcess, to: AgentProcess): Promise<void> {
    await from.start();
    await to.client.protect({ vm: VM, to: from.name });
    await this.untilProtected(to);
  }

  async untilProtected(agent: AgentProcess): Promise<void> {
    await this.watch(
      agent,
      (event) => event.kind === 'state' && event.state === 'PROTECTED',
      async () => (await agent.client.vm(VM)).state === 'PROTECTED',
    );
  }

  /** Ends everything this lab started and, unless `keep`, removes its folders. */
  async close({ keep = false } = {}): Promise<void> {
    await Promise.all([this.primary.clear(), this.backup.clear()]);
    this.segment?.remove();
    if (keep) return;
    for (const dir of [this.dir, this.imageRoot]) rmSync(dir, { recursive: true, force: true });
  }
}

function diskImage(dir: string, side: 'a' | 'b'): string {
  return join(dir, side, 'disk.img');
}

/** Unlocked, since the standby's QEMU opens it too. */
function plainDisk(dir: string): string[] {
  return ['-drive', `file=${plainDiskImage(dir)},format=raw,if=virtio,file.locking=off`];
}

function plainDiskImage(dir: string): string {
  return join(dir, 'plain.img');
}

/** Its holes stay holes. */
function copyImage(from: string, to: string): void {
  execFileSync('cp', ['--sparse=always', from, to]);
}

/** A sparse image. */
function makeImage(path: string, sizeMiB: number): void {
  closeSync(openSync(path, 'w', 0o600));
  truncateSync(path, sizeMiB * 2 ** 20);
}

/** In which network an agent lives, and what its config says of witness and certificates. */
async function placeAgent(
  agent: AgentProcess,
  { segment, links, witness, agent: settings }: LabOptions,
  dir: string,
): Promise<Record<string, unknown>> {
  if (links === undefined) {
    agent.launcher = segment?.launcher ?? [];
    return { ...(witness && { witness: { socket: witness.socketPath } }), ...settings };
  }
  const name = agent.name as HostName;
  agent.launcher = links.launcher(name);
  agent.host = '0.0.0.0';
  agent.port = AGENT_PORT;
  agent.addressFrom = (other) => links.address(name, other as HostName);
  const { tls } = await makeCertificates(join(dir, 'pki'), agent.name, []);
  const url = `redis://${links.address('w', name)}:${WITNESS_PORT}`;
  return { tls, ...(witness && { witness: { url } }), ...settings };
}
