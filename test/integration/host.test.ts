/** Two hosts in one process: a VM that a host holds is known to it at every moment, whatever becomes of its roles. */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type Listener, listen } from '../../backup/listener.ts';
import { EventLog } from '../../cli/agent/events.ts';
import { Host } from '../../cli/agent/host.ts';
import { parseConfig } from '../../shared/config.ts';
import { MemoryRegister, MemoryWitness } from '../../shared/control/memory-register.ts';
import { RomulusError } from '../../shared/errors.ts';
import type { AgentEvent } from '../../shared/status.ts';
import { makeTrace } from '../support/trace.ts';

const VM = 'web';
const LOOPBACK = '127.0.0.1';

class TestHost {
  readonly host: Host;
  readonly events = new EventLog();
  readonly #config: ReturnType<typeof parseConfig>;
  #listener: Listener | undefined;

  constructor(
    dir: string,
    node: string,
    peer: string,
    trace: { path: string; ramBytes: number },
    witness: MemoryWitness,
  ) {
    const at = (folder: string) => join(dir, node, folder);
    this.#config = parseConfig(
      stringify({
        node,
        dataDir: at('data'),
        imageDir: at('image'),
        runDir: at('run'),
        listen: `${LOOPBACK}:1`,
        silence: '2s',
        witness: { socket: at('unused') },
        peers: { [peer]: { address: `${LOOPBACK}:1` } },
        vms: { [VM]: { hypervisor: 'replay', memory: `${trace.ramBytes / 1024}KiB`, disk: trace.path } },
      }),
      join(dir, 'agent.yaml'),
    );
    for (const folder of ['data', 'image', 'run']) mkdirSync(at(folder), { recursive: true });
    const parts = {
      config: this.#config,
      register: new MemoryRegister(witness),
      log: pino({ level: 'silent' }),
    };
    this.host = new Host({ ...parts, events: this.events });
  }

  async open(): Promise<Listener['endpoint']> {
    const { node, silenceMs } = this.#config;
    const standbyFor: Parameters<typeof listen>[0]['standbyFor'] = (hello) => this.host.standbyFor(hello);
    this.#listener = await listen({ listen: { host: LOOPBACK, port: 0 }, node, silenceMs, standbyFor });
    return this.#listener.endpoint;
  }

  reaches(peer: string, address: Listener['endpoint']): void {
    this.#config.peers[peer] = { address };
  }

  until(fits: (event: AgentEvent) => boolean): Promise<AgentEvent> {
    return new Promise((resolve) => {
      const stop = this.events.listen((event) => {
        if (!fits(event)) return;
        stop();
        resolve(event);
      });
    });
  }

  async close(): Promise<void> {
    await this.#listener?.close();
    await this.host.close();
  }
}

let dir: string;
let a: TestHost;
let b: TestHost;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'romulus-host-'));
  const trace = await makeTrace();
  const witness = new MemoryWitness();
  a = new TestHost(dir, 'a', 'b', trace, witness);
  b = new TestHost(dir, 'b', 'a', trace, witness);
  a.reaches('b', await b.open());
  b.reaches('a', await a.open());
});

afterEach(async () => {
  await a.close();
  await b.close();
  rmSync(dir, { recursive: true, force: true });
});

it('a VM that is handed over is known to both hosts at every turn of the event loop', async () => {
  const covered = a.until(({ kind, state }) => kind === 'state' && state === 'PROTECTED');
  await a.host.protect({ vm: VM, to: 'b' });
  await covered;
  const unknown = new Set<string>();
  let watching = true;
  const look = () => {
    for (const { host } of [a, b]) if (host.statuses().length === 0) unknown.add(host.node);
    if (watching) setImmediate(look);
  };
  look();
  const became = a.until(({ kind }) => kind === 'became-backup');
  const moved = b.until(({ kind }) => kind === 'failover');
  await a.host.switchover(VM);
  await became;
  await moved;
  // It is protected in its turn, which fails: a recorded guest ends with the agent that replayed it.
  while (b.host.status(VM).state !== 'DEGRADED') await new Promise((resolve) => setImmediate(resolve));
  watching = false;
  expect(unknown).toEqual(new Set());
  expect(a.host.status(VM)).toMatchObject({ role: 'backup', state: 'FENCED' });
});

it('a guest that the backup cannot run is not tried again: protection ends, and says why until it is asked for anew', async () => {
  const refusal = new RomulusError('HV_UNSUPPORTED', 'this host lacks what the guest has', { hint: 'do' });
  const standbyFor = (): Promise<never> => Promise.reject(refusal);
  const listening = { host: LOOPBACK, port: 0 };
  const c = await listen({ listen: listening, node: 'c', silenceMs: 2000, standbyFor });
  a.reaches('c', c.endpoint);
  try {
    const ended = a.until(({ kind, state }) => kind === 'state' && state === 'ENDED');
    await a.host.protect({ vm: VM, to: 'c' });
    expect(await ended).toMatchObject({ code: 'HV_UNSUPPORTED' });
    const { message: reason, hint } = refusal;
    expect(a.host.status(VM)).toMatchObject({ state: 'ENDED', reason, hint });
    const covered = a.until(({ kind, state }) => kind === 'state' && state === 'PROTECTED');
    await a.host.protect({ vm: VM, to: 'b' });
    await covered;
  } finally {
    await c.close();
  }
});
