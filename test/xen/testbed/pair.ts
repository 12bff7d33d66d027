/** Two Xen hosts "a" (10.0.0.1) and "b" (10.0.0.2) on one wire, each with its Romulus agent; the guest runs on a. */

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
/** Two emulated hosts on two busy cores stand still for seconds at a time without being dead. */
const SILENCE_MS = 30_000;
const BOOT_LIMIT_MS = 600_000;

export type HostName = keyof typeof ADDRESS;

export class XenPair {
  readonly dir: string;
  readonly a: XenHost;
  readonly b: XenHost;

  private constructor(dir: string, a: XenHost, b: XenHost) {
    this.dir = dir;
    this.a = a;
    this.b = b;
  }

  /** Boots both hosts and starts their agents; `epochMs` is the length of an epoch of the guest "guest". */
  static async boot(epochMs: number): Promise<XenPair> {
    const dir = mkdtempSync(join(tmpdir(), 'xen-')); // short: unix sockets end at 107 bytes
    const shared = join(dir, 'shared');
    mkdirSync(shared);
    bundleForDom0(shared, ['cli/main.ts']);
    for (const name of ['a', 'b'] as const) configureAgent(shared, name, epochMs);
    const wire = { a: join(dir, 'wire-a'), b: join(dir, 'wire-b') };
    const boot = (name: HostName, peer: HostName): Promise<XenHost> =>
      XenHost.boot({
        name,
        runDir: join(dir, name),
        sharedDir: shared,
        address: ADDRESS[name],
        wire: [wire[name], wire[peer]],
        guestsMiB: 384,
        bootLimitMs: BOOT_LIMIT_MS,
      });
    const [a, b] = await Promise.all([boot('a', 'b'), boot('b', 'a')]);
    return new XenPair(dir, a, b);
  }

  /** Starts the agent of a host; resolves with its command's number once it listens. */
  async startAgent(host: XenHost): Promise<number> {
    const agent = host.start(`exec node main.mjs agent --config ${host.name}.yaml`);
    await host.printed(agent, /agent is up/, BOOT_LIMIT_MS);
    return agent;
  }

  /** A verb of the command line on a host; returns its JSON. */
  async verb<T>(host: XenHost, words: string, limitMs = BOOT_LIMIT_MS): Promise<T> {
    const command = `node main.mjs --json --config ${host.name}.yaml ${words} 2>/dev/null`;
    const { output } = await host.finished(host.start(command), limitMs);
    const json = output.slice(Math.max(output.indexOf('{'), 0));
    const answer = (json === '' ? {} : JSON.parse(json)) as { error?: { message: string } } & T;
    if (json === '' || answer.error !== undefined)
      throw new Error(`${host.name}: romulus ${words}: ${output}`);
    return answer;
  }

  async close(keep = false): Promise<void> {
    for (const host of [this.a, this.b]) host.kill();
    if (!keep) rmSync(this.dir, { recursive: true, force: true });
  }
}

function configureAgent(shared: string, node: HostName, epochMs: number): void {
  const peer = node === 'a' ? 'b' : 'a';
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
  guest: { hypervisor: xen, memory: 128MiB, epoch: ${epochMs}ms, epochMax: 10s }
`,
  );
}
