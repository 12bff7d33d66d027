/** What every witness register owes its callers, run against the one in memory and against a real redis-server. */

import { afterEach, describe, expect, it } from 'vitest';
import { LabWitness } from '../../cli/lab/witness.ts';
import { MemoryRegister, MemoryWitness } from '../../shared/control/memory-register.ts';
import { RedisRegister } from '../../shared/control/redis-register.ts';
import {
  type CasResult,
  type RegisterEntry,
  type RegisterState,
  versionOf,
  type WitnessRegister,
} from '../../shared/control/register.ts';

interface Witness {
  register: WitnessRegister;
  freeze(): void;
  /** Resolves when what was taken in while frozen has been applied. */
  thaw(): Promise<void>;
  restart(survives: 'everything' | 'nothing'): Promise<void>;
  close(): Promise<void>;
}

const solo = (owner: string, term = 1): RegisterEntry => ({ term, owner, mode: 'SOLO', syncEpoch: 0 });

function applied(result: CasResult): RegisterState {
  if (result.outcome !== 'applied') throw new Error(`expected applied, got ${JSON.stringify(result)}`);
  return result.state;
}

async function inMemory(): Promise<Witness> {
  const register = new MemoryRegister(new MemoryWitness());
  return {
    register,
    freeze: () => register.freeze(),
    thaw: async () => register.thaw(),
    restart: async (survives) => register.restart(survives),
    close: async () => {},
  };
}

async function onRedis(): Promise<Witness> {
  const redis = await LabWitness.start();
  const register = new RedisRegister({ socketPath: redis.socketPath });
  await register.ready();
  const answers = async () => {
    while ((await register.read('thaw-probe')).outcome === 'unknown') {
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return {
    register,
    freeze: () => redis.signal('SIGSTOP'),
    thaw: async () => {
      redis.signal('SIGCONT');
      await answers();
    },
    restart: async (survives) => {
      await redis.kill();
      if (survives === 'nothing') await redis.forgetEverything();
      await redis.boot();
      await answers();
    },
    close: async () => {
      await register.close();
      await redis.stop();
    },
  };
}

describe.each([
  ['in memory', inMemory],
  ['on Redis', onRedis],
])('a witness register %s', (_name, start) => {
  let witness: Witness;
  afterEach(() => witness.close());

  it('reads an absent register as absent, and names the witness process that answered', async () => {
    witness = await start();
    const reading = await witness.register.read('vm');
    expect(reading).toMatchObject({ outcome: 'read', state: undefined });
    expect(reading).toHaveProperty('liveRunId');
  });

  it('lets exactly one of two writers create a register', async () => {
    witness = await start();
    const { register } = witness;
    const results = await Promise.all([
      register.compareAndSet('vm', undefined, solo('a')),
      register.compareAndSet('vm', undefined, solo('b')),
    ]);
    expect(results.map((result) => result.outcome).sort()).toEqual(['applied', 'conflict']);
  });

  it('keeps every field, numbers the writes, and leaves other VMs alone', async () => {
    witness = await start();
    const { register } = witness;
    const first = applied(await register.compareAndSet('vm', undefined, solo('a')));
    const next: RegisterEntry = {
      term: 2 ** 50,
      owner: 'b',
      mode: 'PROTECTED',
      syncEpoch: 2 ** 52,
      claim: 'jo: PDU 4',
    };
    const second = applied(await register.compareAndSet('vm', versionOf(first), next));
    expect(second).toEqual({ ...next, seq: 2, runId: first.runId });
    expect(await register.read('vm')).toEqual({ outcome: 'read', state: second, liveRunId: first.runId });
    expect(await register.read('other')).toMatchObject({ state: undefined });
  });

  it('refuses a stale version and shows the present one', async () => {
    witness = await start();
    const { register } = witness;
    const first = applied(await register.compareAndSet('vm', undefined, solo('a')));
    const second = applied(await register.compareAndSet('vm', versionOf(first), solo('b', 2)));
    const late = await register.compareAndSet('vm', versionOf(first), solo('a', 2));
    expect(late).toMatchObject({ outcome: 'conflict', current: second });
  });

  it('refuses a lower term', async () => {
    witness = await start();
    const { register } = witness;
    const first = applied(await register.compareAndSet('vm', undefined, solo('a', 5)));
    expect(await register.compareAndSet('vm', versionOf(first), solo('a', 4))).toMatchObject({
      outcome: 'conflict',
    });
  });

  it('keeps what it acknowledged over kill -9, and tells that it was restarted', async () => {
    witness = await start();
    const { register } = witness;
    const before = applied(await register.compareAndSet('vm', undefined, solo('a')));
    await witness.restart('everything');
    const reading = await register.read('vm');
    expect(reading).toMatchObject({ outcome: 'read', state: before });
    expect(reading).not.toHaveProperty('liveRunId', before.runId);
  });

  it('refuses after a restart what was decided on its run before', async () => {
    witness = await start();
    const { register } = witness;
    const before = applied(await register.compareAndSet('vm', undefined, solo('a')));
    await witness.restart('everything');
    const claim = await register.compareAndSet('vm', versionOf(before), solo('b', 2), {
      inRun: before.runId,
    });
    expect(claim).toMatchObject({ outcome: 'conflict', current: before });
    const confirmed = applied(await register.compareAndSet('vm', versionOf(before), solo('a')));
    const inRun = confirmed.runId;
    applied(await register.compareAndSet('vm', versionOf(confirmed), solo('b', 2), { inRun }));
  });

  it('does not take a version of its lost past for one it gave out since', async () => {
    witness = await start();
    const { register } = witness;
    const lost = applied(await register.compareAndSet('vm', undefined, solo('a')));
    await witness.restart('nothing');
    const fresh = applied(await register.compareAndSet('vm', undefined, solo('b')));
    expect(fresh.seq).toBe(lost.seq);
    expect(await register.compareAndSet('vm', versionOf(lost), solo('a'))).toMatchObject({
      outcome: 'conflict',
    });
  });

  it('calls a write that nobody answered unknown, and it may be applied later', async () => {
    witness = await start();
    const { register } = witness;
    const first = applied(await register.compareAndSet('vm', undefined, solo('a')));
    witness.freeze();
    const unanswered = await register.compareAndSet('vm', versionOf(first), solo('b', 2));
    expect(unanswered.outcome).toBe('unknown');
    expect((await register.read('vm')).outcome).toBe('unknown');
    await witness.thaw();
    expect(await register.read('vm')).toMatchObject({ state: { owner: 'b', term: 2 } });
  });

  it('settles a doubt by the same write again: whichever arrives second conflicts', async () => {
    witness = await start();
    const { register } = witness;
    const first = applied(await register.compareAndSet('vm', undefined, solo('a')));
    witness.freeze();
    await register.compareAndSet('vm', versionOf(first), solo('b', 2));
    await witness.thaw();
    const again = await register.compareAndSet('vm', versionOf(first), solo('b', 2));
    const state = again.outcome === 'conflict' ? again.current : applied(again);
    expect(state).toMatchObject({ owner: 'b', term: 2, seq: 2 });
  });
});

describe('the durability check', () => {
  const cases: [string, string[]][] = [
    ['without an append-only file', ['--appendonly', 'no']],
    ['that fsyncs once a second', ['--appendfsync', 'everysec']],
    ['that evicts keys', ['--maxmemory-policy', 'allkeys-lru']],
    ['that is a replica', ['--replicaof', '127.0.0.1 1']],
  ];
  it.each(cases)('refuses a Redis %s', async (_name, settings) => {
    const redis = await LabWitness.start({ settings });
    const register = new RedisRegister({ socketPath: redis.socketPath });
    try {
      await register.ready();
      await expect(register.checkDurability()).rejects.toMatchObject({ code: 'WITNESS_UNSAFE', exitCode: 4 });
      expect((await register.read('vm')).outcome).toBe('unknown');
    } finally {
      await register.close();
      await redis.stop();
    }
  });

  it('says within its time limit that nobody is there', async () => {
    const register = new RedisRegister({ socketPath: '/nonexistent/redis.sock' });
    await expect(register.ready(50)).rejects.toMatchObject({ code: 'WITNESS_UNREACHABLE' });
    expect((await register.read('vm')).outcome).toBe('unknown');
    await register.close();
  });
});
