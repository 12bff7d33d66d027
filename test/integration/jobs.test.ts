/** Jobs on a real Redis: each asks the host once, under its own term, whatever dies in between, and says what came of it. */

import { Queue } from 'bullmq';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { jobRoutes } from '../../cli/agent/job-routes.ts';
import { Jobs } from '../../cli/agent/jobs.ts';
import { LabWitness } from '../../cli/lab/witness.ts';
import { type Job, type JobView, queueOf } from '../../shared/control/queue.ts';
import type { RomulusError } from '../../shared/errors.ts';
import { WritingHost } from '../support/order-host.ts';

let redis: LabWitness;
let host: WritingHost;
let jobs: Jobs;

function worker(concurrency = 8, priorities: Record<string, number> = {}): Jobs {
  return new Jobs({
    host,
    queue: { socket: redis.socketPath, concurrency },
    priorityOf: (vm) => priorities[vm],
    log: pino({ level: 'silent' }),
  });
}

beforeEach(async () => {
  redis = await LabWitness.start();
  host = new WritingHost();
  host.put({ vm: 'web' });
  jobs = worker();
});
afterEach(async () => {
  await jobs.close();
  await redis.stop();
});

/** Asks, and waits until the job is through. */
async function carriedOut(order: Job): Promise<JobView> {
  return through(await jobs.add('b', order));
}

async function through(asked: JobView): Promise<JobView> {
  return until(asked, ({ state }) => state === 'completed' || state === 'failed');
}

/** Only Redis knows how far a job is; the test's own time-out ends a wait in vain. */
async function until(asked: JobView, fits: (view: JobView) => boolean): Promise<JobView> {
  for (;;) {
    const view = await jobs.board.view(asked.node, asked.id ?? '').catch(unreachable);
    if (view !== undefined && fits(view)) return view;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Redis may be away for a while, as some of these tests want it. */
function unreachable(error: RomulusError): undefined {
  if (error.code !== 'QUEUE_UNREACHABLE') throw error;
}

async function addedOnceBack(order: Job): Promise<JobView> {
  for (;;) {
    const view = await jobs.add('b', order).catch(unreachable);
    if (view !== undefined) return view;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function gate(): { open: () => void; opened: Promise<void> } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

describe('a job about one VM', () => {
  it('ends in the same call as command and API, and answers the same', async () => {
    const view = await carriedOut({ kind: 'failover', vm: 'web', term: 1 });
    expect(view).toMatchObject({ kind: 'failover', vm: 'web', state: 'completed', percent: 100 });
    expect(view.result).toEqual({ vm: 'web', epoch: 9, term: 2, decisionToRunningMs: 1, promiseWaitMs: 0 });
    expect(host.asked).toEqual(['failover web']);
  });

  it('carries who fenced the old primary', async () => {
    await carriedOut({ kind: 'failover', vm: 'web', term: 1, fencedBy: 'ops, powered off' });
    expect(host.asked).toEqual(['failover web fenced by ops, powered off']);
  });

  it('of an older term is refused, and the host is not asked', async () => {
    host.put({ vm: 'web', term: 5 });
    for (const kind of ['failover', 'unprotect', 'switchover'] as const) {
      const view = await carriedOut({ kind, vm: 'web', term: 4 });
      expect(view).toMatchObject({ state: 'failed', error: { code: 'TERM_STALE' } });
    }
    expect(host.asked).toEqual([]);
  });

  it('that the host refuses fails with its code, message and hint, and can be asked for anew', async () => {
    host.alive.add('web');
    const first = await carriedOut({ kind: 'failover', vm: 'web', term: 1 });
    expect(first.error).toEqual({
      code: 'PRIMARY_ALIVE',
      message: 'the primary of web was heard',
      hint: 'stop it first',
    });
    host.alive.clear();
    const second = await carriedOut({ kind: 'failover', vm: 'web', term: 1 });
    expect(second.id).not.toBe(first.id);
    expect(second.state).toBe('completed');
  });

  it('asked for twice while it is unfinished is one job', async () => {
    const { open, opened } = gate();
    host.hold = opened;
    const asked = await Promise.all(
      Array.from({ length: 5 }, () => jobs.add('b', { kind: 'failover', vm: 'web', term: 1 })),
    );
    expect(new Set(asked.map(({ id }) => id)).size).toBe(1);
    const again = await jobs.add('b', { kind: 'failover', vm: 'web', term: 1 });
    open();
    await through(again);
    expect(host.asked).toEqual(['failover web']);
  });

  it('by force is not merged into one without', async () => {
    const { open, opened } = gate();
    host.hold = opened;
    host.alive.add('web');
    const plain = await jobs.add('b', { kind: 'failover', vm: 'web', term: 1 });
    const forced = await jobs.add('b', { kind: 'failover', vm: 'web', term: 1, fencedBy: 'ops' });
    expect(forced.id).not.toBe(plain.id);
    open();
    await Promise.all([through(plain), through(forced)]);
  });

  it('shows the progress of a first copy, and leaves its place to others meanwhile', async () => {
    await jobs.close();
    jobs = worker(1);
    const protect = await jobs.add('b', { kind: 'protect', vm: 'db', to: 'a', term: 0 });
    await until(protect, () => host.vms.has('db'));
    host.put({ vm: 'db', role: 'primary', state: 'SYNCING', sync: { percent: 40, sentBytes: 1, round: 1 } });
    await until(protect, ({ percent }) => percent === 40);
    expect((await carriedOut({ kind: 'failover', vm: 'web', term: 1 })).state).toBe('completed');
    host.put({ vm: 'db', role: 'primary', state: 'PROTECTED' });
    expect((await through(protect)).result).toMatchObject({ vm: 'db', state: 'PROTECTED' });
    expect(host.asked).toEqual(['protect db', 'failover web']);
  });

  it('to protect fails when protection does not come about, saying why', async () => {
    const protect = await jobs.add('b', { kind: 'protect', vm: 'db', to: 'a', term: 0 });
    await until(protect, () => host.vms.has('db'));
    host.put({ vm: 'db', role: 'primary', state: 'DEGRADED', reason: 'the backup is full' });
    expect((await through(protect)).error).toMatchObject({ code: 'DEGRADED', message: /the backup is full/ });
  });

  it.each([
    { kind: 'failover', vm: '../../etc', term: 1 },
    { kind: 'failover', vm: 'web' },
    { kind: 'failover', vm: 'web', term: 1, fencedBy: 'x'.repeat(10_000) },
    { kind: 'reboot', vm: 'web', term: 1 },
    'words',
  ])('that somebody else put there, number %#, is refused and not carried out', async (data) => {
    const queue = new Queue(queueOf('b'), { connection: { path: redis.socketPath } });
    const { id } = await queue.add('failover', data);
    const job = await queue.getJob(id ?? '');
    while (!(await job?.isFailed())) await new Promise((resolve) => setTimeout(resolve, 20));
    expect((await queue.getJob(id ?? ''))?.failedReason).toContain('USAGE');
    expect(host.asked).toEqual([]);
    await queue.close();
  });
});

describe('a job about a whole host', () => {
  beforeEach(() => {
    host.vms.clear();
    for (const vm of ['db', 'mail', 'shop', 'wiki']) host.put({ vm, peer: 'a' });
    host.put({ vm: 'other', peer: 'c' });
    host.put({ vm: 'mine', role: 'primary', state: 'PROTECTED', peer: 'a' });
  });

  it('fails over every VM that the dead host had here, and no other', async () => {
    const view = await carriedOut({ kind: 'failoverHost', node: 'a', fencedBy: 'ops' });
    expect(view.vms).toEqual(['db', 'mail', 'shop', 'wiki'].map((vm) => ({ vm, ok: true })));
    expect(view).toMatchObject({ state: 'completed', vmCount: 4, percent: 100 });
    expect(host.asked.toSorted()).toEqual(
      ['db', 'mail', 'shop', 'wiki'].map((vm) => `failover ${vm} fenced by ops`),
    );
  });

  it('that accepts data loss is not merged into one that does not', async () => {
    const { open, opened } = gate();
    host.hold = opened;
    const plain = await jobs.add('b', { kind: 'failoverHost', node: 'a' });
    const lossy = await jobs.add('b', { kind: 'failoverHost', node: 'a', acceptDataLoss: true });
    expect(lossy.id).not.toBe(plain.id);
    open();
    await Promise.all([through(plain), through(lossy)]);
  });

  it('names the VM that could not move, and moves the others', async () => {
    host.alive.add('mail');
    const view = await carriedOut({ kind: 'failoverHost', node: 'a' });
    expect(view.vms?.filter(({ ok }) => !ok)).toEqual([
      { vm: 'mail', ok: false, error: expect.objectContaining({ code: 'PRIMARY_ALIVE' }) },
    ]);
    expect(view.vms?.filter(({ ok }) => ok)).toHaveLength(3);
  });

  it('moves so many at once as the config says, those of high priority first', async () => {
    await jobs.close();
    jobs = worker(2, { wiki: 1, shop: 2 });
    const { open, opened } = gate();
    host.hold = opened;
    const view = await jobs.add('b', { kind: 'failoverHost', node: 'a' });
    await until(view, () => host.running === 2);
    expect(host.asked.toSorted()).toEqual(['failover shop', 'failover wiki']);
    open();
    await through(view);
    expect(host.mostAtOnce).toBe(2);
    expect(host.asked).toHaveLength(4);
  });

  it('drains this host by handing over what runs here', async () => {
    const view = await carriedOut({ kind: 'drainHost', node: 'b' });
    expect(view.vms).toEqual([{ vm: 'mine', ok: true }]);
    expect(host.asked).toEqual(['switchover mine']);
  });

  it('does not ask again for a VM that the backup did not take, and names it', async () => {
    host.alive.add('mine');
    const view = await carriedOut({ kind: 'drainHost', node: 'b' });
    expect(view.vms).toEqual([
      { vm: 'mine', ok: false, error: expect.objectContaining({ code: 'VM_BUSY' }) },
    ]);
    expect(host.asked).toEqual(['switchover mine']);
  });

  it('is refused by an agent of another host, and is through at once where nothing runs', async () => {
    const strange = await through(await jobs.add('b', { kind: 'drainHost', node: 'z' }));
    expect(strange.error?.code).toBe('PEER_UNKNOWN');
    expect(await carriedOut({ kind: 'failoverHost', node: 'z' })).toMatchObject({ vms: [], vmCount: 0 });
  });
});

describe('Redis', () => {
  it('killed while a job is active, and back again: the job ends well, and was carried out once', async () => {
    const { open, opened } = gate();
    host.hold = opened;
    const view = await jobs.add('b', { kind: 'failover', vm: 'web', term: 1 });
    await until(view, () => host.running === 1);
    await redis.kill();
    open();
    await redis.boot();
    expect((await through(view)).result).toMatchObject({ vm: 'web', term: 2 });
    expect(host.asked).toEqual(['failover web']);
  });

  it('gone is said at once, and nothing is carried out later that was refused now', async () => {
    await jobs.add('b', { kind: 'failover', vm: 'none', term: 7 }); // the connection is up
    await redis.kill();
    await expect(jobs.add('b', { kind: 'failover', vm: 'web', term: 1 })).rejects.toMatchObject({
      code: 'QUEUE_UNREACHABLE',
    });
    await redis.boot();
    const later = await addedOnceBack({ kind: 'unprotect', vm: 'web', term: 1 });
    await through(later);
    expect(host.asked).toEqual(['unprotect web']);
  });

  it('that comes up after the agent is found', async () => {
    await jobs.close();
    await redis.kill();
    jobs = worker();
    await redis.boot();
    const view = await addedOnceBack({ kind: 'failover', vm: 'web', term: 1 });
    expect((await through(view)).state).toBe('completed');
  });
});

describe('an agent that dies with a job active', () => {
  /** A run of the agent before this one: it takes the job, and never says anything again. */
  async function dieWithin(order: Job, done: () => void): Promise<JobView> {
    const { opened } = gate();
    host.hold = opened;
    const view = await jobs.add('b', order);
    await until(view, () => host.running === 1);
    host.hold = Promise.resolve();
    host.running = 0;
    done();
    return view;
  }

  it('before anything was done: the next run does it', async () => {
    const view = await dieWithin({ kind: 'failover', vm: 'web', term: 1 }, () => {});
    await abandon();
    expect((await through(view)).result).toMatchObject({ vm: 'web', term: 2 });
    expect(host.asked).toEqual(['failover web', 'failover web']);
  });

  it('after it was done: the next run finds it done, and does not do it again', async () => {
    const view = await dieWithin({ kind: 'failover', vm: 'web', term: 1 }, () =>
      host.put({ vm: 'web', state: 'ACTIVE', term: 2 }),
    );
    await abandon();
    expect((await through(view)).result).toEqual({ vm: 'web', epoch: 9, term: 2, takenUpAgain: true });
    expect(host.asked).toEqual(['failover web']);
  });

  /** Lets go of the worker without an answer to its job, as kill -9 does, and starts the next. */
  async function abandon(): Promise<void> {
    await jobs.close({ waitMs: 0 });
    jobs = worker();
  }
});

describe('without a queue', () => {
  const ask = (body: object) =>
    jobRoutes(host, () => undefined)['POST /v1/jobs']?.({ body } as never) as Promise<JobView>;

  it('orders about this whole host are carried out at once, and the answer is the same', async () => {
    host.put({ vm: 'db', peer: 'a' });
    host.alive.add('db');
    const view = await ask({ kind: 'failoverHost', node: 'a', fencedBy: 'ops' });
    expect(view).toMatchObject({ state: 'completed', vmCount: 2, percent: 100 });
    expect(view.vms?.map(({ vm, ok }) => [vm, ok])).toEqual([
      ['db', false],
      ['web', true],
    ]);
  });

  it('orders for another agent are refused, saying what is missing', () => {
    const refused = { code: 'PREREQUISITE', hint: expect.stringContaining('queue:') };
    expect(() => ask({ kind: 'drainHost', node: 'a' })).toThrow(expect.objectContaining(refused));
  });
});
