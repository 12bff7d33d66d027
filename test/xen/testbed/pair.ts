/** Two Xen hosts "a" (10.0.0.1) and "b" (10.0.0.2) on one wire, each with its Romulus agent; the guest "guest" starts on a. */

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleForDom0 } from './bundle.ts';
import { XenHost } from './host.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '../../..');
const ADDRESS = { a: '10.0.0.1', b: '10.0.0.2' } as const;
const PORT = 7400;
/** Two emulated hosts on two busy cores stand still for many seconds at a time without being dead. */
const SILENCE_MS = 60_000;
const BOOT_LIMIT_MS = 600_000;

export type HostName = keyof typeof ADDRESS;

export function peerOf(name: HostName): HostName {
  return name === 'a' ? 'b' : 'a';
}

export interface PairOptions {
  /** More of the guest's description in agent.yaml, as `key: value` pairs of a YAML flow map. */
  guest?: string;
  /** A command for a host's dom0 before its agent starts. */
  prepare?: (name: HostName) => string;
}

export class XenPair {
  readonly dir: string;
  readonly #prepare: (name: HostName) => string;
  readonly #shared: string;
  readonly #hosts = new Map<HostName, XenHost>();
  readonly #agents = new Map<HostName, number>();
  #boots = 0;

  private constructor(dir: string, shared: string, prepare: (name: HostName) => string) {
    this.dir = dir;
    this.#prepare = prepare;
    this.#shared = shared;
  }

  /** Boots both hosts and starts their agents; `epochMs` is the length of an epoch of the guest. */
  static async start(
    epochMs: number,
    { guest = '', prepare = () => 'true' }: PairOptions = {},
  ): Promise<XenPair> {
    const dir = mkdtempSync(join(tmpdir(), 'xen-')); // short: unix sockets end at 107 bytes
    const shared = join(dir, 'shared');
    mkdirSync(shared);
    bundleForDom0(shared, ['cli/main.ts', 'test/xen/dom0/talker.ts']);
    for (const name of ['a', 'b'] as const) configureAgent(shared, name, epochMs, guest);
    const pair = new XenPair(dir, shared, prepare);
    try {
      await Promise.all([pair.powerOn('a'), pair.powerOn('b')]);
      return pair;
    } catch (error) {
      pair.close();
      throw error;
    }
  }

  host(name: HostName): XenHost {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new Error(`host ${name} was never switched on`);
    return host;
  }

  /** Boots a host, with the disk it had when it was built, and starts its agent. */
  async powerOn(name: HostName): Promise<void> {
    this.#boots += 1;
    const wireOf = (end: HostName): string => join(this.dir, `wire-${end}`);
    rmSync(wireOf(name), { force: true });
    const host = await XenHost.boot({
      name,
      runDir: join(this.dir, `${name}${this.#boots}`),
      sharedDir: this.#shared,
      address: ADDRESS[name],
      wire: [wireOf(name), wireOf(peerOf(name))],
      bootLimitMs: BOOT_LIMIT_MS,
    });
    this.#hosts.set(name, host);
    await host.run(this.#prepare(name));
    const agent = host.start(`exec node main.mjs agent --config ${name}.yaml`);
    this.#agents.set(name, agent);
    await host.printed(agent, /agent is up/, BOOT_LIMIT_MS);
  }

  /** What the agent of a host has logged. */
  agentLog(name: HostName): string {
    return this.host(name).output(this.#agents.get(name) ?? 0);
  }

  /** A verb of the command line on a host; returns its JSON. */
  async verb<T>(name: HostName, words: string, limitMs = BOOT_LIMIT_MS): Promise<T> {
    const host = this.host(name);
    const command = `node main.mjs --json --config ${name}.yaml ${words} 2>/dev/null`;
    const { output } = await host.finished(host.start(command), limitMs);
    const json = output.slice(Math.max(output.indexOf('{'), 0));
    const answer = (json === '' ? {} : JSON.parse(json)) as { error?: { message: string } } & T;
    if (json === '' || answer.error !== undefined) throw new Error(`${name}: romulus ${words}: ${output}`);
    return answer;
  }

  close(): void {
    for (const host of this.#hosts.values()) host.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

function configureAgent(shared: string, node: HostName, epochMs: number, guest: string): void {
  const peer = peerOf(node);
  const made = spawnSync(
    join(root, 'node_modules/.bin/tsx'),
    [join(root, 'cli/main.ts'), 'certs', join(shared, 'pki'), '--node', node, '--address', ADDRESS[node]],
    { encoding: 'utf8' },
  );
  if (made.status !== 0) throw new Error(`romulus certs failed: ${made.stderr}`);
  writeFileSync(
    join(shared, `${node}.yaml`),
    `node: ${node}
listen: ${ADDRESS[node]}:${PORT}
silence: ${SILENCE_MS}ms
dataDir: /var/lib/romulus
tls: { ca: /mnt/host/pki/ca.crt, cert: /mnt/host/pki/${node}.crt, key: /mnt/host/pki/${node}.key }
peers:
  ${peer}: { address: "${ADDRESS[peer]}:${PORT}" }
vms:
  guest: { hypervisor: xen, memory: 128MiB, epoch: ${epochMs}ms, pauseShare: 50%, ${guest} }
`,
  );
}
