/** What a backup may do, claim by claim; time and witness are in the test's hand. */

import { describe, expect, it } from 'vitest';
import { stepBackup } from '../../shared/control/authority-backup.ts';
import { type BackupEffect, type BackupEvent, startBackup } from '../../shared/control/backup-state.ts';
import { MemoryWitness } from '../../shared/control/memory-register.ts';
import {
  checkPolicy,
  defaultPolicy,
  type Policy,
  permitEndsMs,
  promiseEndsMs,
} from '../../shared/control/policy.ts';
import type { RegisterEntry } from '../../shared/control/register.ts';

const party = { vm: 'vm', self: 'b', peer: 'a' };
const protectedByA: RegisterEntry = { term: 1, owner: 'a', mode: 'PROTECTED', syncEpoch: 10 };

/** A backup with a whole image of epoch 10, heard just now, and a witness that answers at once. */
class Bench {
  nowMs = 0;
  readonly witness = new MemoryWitness();
  readonly done: BackupEffect[] = [];
  answering = true;
  state;

  constructor(register: RegisterEntry | undefined = protectedByA, policy: Partial<Policy> = {}) {
    if (register !== undefined) this.witness.compareAndSet('vm', undefined, register);
    this.state = startBackup(
      party,
      { ...defaultPolicy, ...policy },
      {
        record: { term: 1, role: 'backup', epoch: 0 },
        image: { whole: true, term: 1, epoch: 10 },
        nowMs: 0,
      },
    );
  }

  feed(event: BackupEvent): BackupEffect[] {
    const from = this.done.length;
    const [state, effects] = stepBackup(this.state, event, this.nowMs);
    this.state = state;
    this.done.push(...effects);
    for (const effect of effects) {
      if (effect.do === 'read' || effect.do === 'cas') this.answer(effect);
    }
    return this.done.slice(from);
  }

  private answer(effect: Extract<BackupEffect, { do: 'read' | 'cas' }>): void {
    const { ask } = effect;
    if (!this.answering) this.feed({ on: 'answer', ask, answer: { outcome: 'unknown', reason: 'silent' } });
    else if (effect.do === 'read') this.feed({ on: 'answer', ask, answer: this.witness.read('vm') });
    else {
      const { expected, next, inRun } = effect;
      this.feed({ on: 'answer', ask, answer: this.witness.compareAndSet('vm', expected, next, { inRun }) });
    }
  }

  pass(durationMs: number): BackupEffect[] {
    const from = this.done.length;
    for (const end = this.nowMs + durationMs; this.nowMs < end; ) {
      this.nowMs += 5;
      this.feed({ on: 'tick' });
    }
    return this.done.slice(from);
  }

  get register() {
    return this.witness.read('vm').state;
  }
}

const kinds = (effects: BackupEffect[]) => effects.map((effect) => effect.do);

describe('a promise', () => {
  it('ends, on any two clocks within the drift, after the permit it covers', () => {
    for (const drift of [-defaultPolicy.driftRatio, 0, defaultPolicy.driftRatio]) {
      const permitEndsAtRealMs = permitEndsMs(defaultPolicy, 0);
      const promiseEndsAtRealMs = promiseEndsMs(defaultPolicy, 0) / (1 + drift);
      expect(promiseEndsAtRealMs).toBeGreaterThan(permitEndsAtRealMs);
    }
  });

  it('is given with every acknowledgement and kept: no claim before it has run out', () => {
    const bench = new Bench(protectedByA, { promoteAfterMs: 50 });
    bench.pass(100);
    expect(kinds(bench.feed({ on: 'committed', term: 1, epoch: 11 }))).toContain('ack');
    expect(kinds(bench.pass(defaultPolicy.promiseMs))).not.toContain('cas');
    expect(kinds(bench.pass(100))).toContain('promote');
  });

  it('is waited out whole after a restart, since an earlier life may have given one', () => {
    const bench = new Bench(protectedByA, { promoteAfterMs: 50 });
    expect(kinds(bench.pass(defaultPolicy.promiseMs))).not.toContain('cas');
    expect(kinds(bench.pass(100))).toContain('promote');
  });
});

describe('a promotion', () => {
  it('comes after silence, by compare-and-set, with term and role saved before the guest runs', () => {
    const bench = new Bench();
    const effects = bench.pass(400);
    expect(kinds(effects)).toEqual(['read', 'cas', 'persist', 'promote']);
    expect(effects).toContainEqual({ do: 'persist', record: { term: 2, role: 'primary', epoch: 10 } });
    expect(bench.register).toMatchObject({ owner: 'b', mode: 'SOLO', term: 2 });
  });

  it('does not come while the primary is heard', () => {
    const bench = new Bench();
    for (let i = 0; i < 50; i += 1) {
      bench.feed({ on: 'heard', term: 1 });
      bench.pass(100);
    }
    expect(kinds(bench.done)).not.toContain('cas');
  });

  const barred: [string, RegisterEntry][] = [
    ['the primary went on alone', { ...protectedByA, mode: 'SOLO' }],
    ['it was never protected', { ...protectedByA, mode: 'SYNCING' }],
    ['its image is short of the sync epoch', { ...protectedByA, syncEpoch: 11 }],
    ['its image is of another term', { ...protectedByA, term: 2 }],
  ];
  it.each(barred)('does not come if %s', (_why, register) => {
    const bench = new Bench(register);
    bench.pass(5000);
    expect(bench.state.phase).toBe('STANDBY');
    expect(bench.register?.owner).toBe('a');
  });

  it('does not come from an image that was lost, or is being overwritten', () => {
    for (const event of [
      { on: 'imageLost', reason: 'EIO' },
      { on: 'resyncAsked', term: 1 },
    ] as const) {
      const bench = new Bench();
      bench.feed(event);
      bench.pass(5000);
      expect(bench.register?.owner).toBe('a');
    }
  });

  it('does not come while the witness is silent, or after it restarted unconfirmed', () => {
    const silent = new Bench();
    silent.answering = false;
    silent.pass(5000);
    expect(kinds(silent.done)).not.toContain('promote');
    const restarted = new Bench();
    restarted.witness.restart('everything');
    restarted.pass(5000);
    expect(restarted.register?.owner).toBe('a');
  });

  it('does not come with `failover: manual`', () => {
    const bench = new Bench(protectedByA, { failover: 'manual' });
    bench.pass(5000);
    expect(bench.register?.owner).toBe('a');
  });

  it('that lost the race leaves a standby that stands by', () => {
    const bench = new Bench();
    bench.pass(200);
    bench.witness.compareAndSet('vm', bench.register, { ...protectedByA, mode: 'SOLO' });
    bench.pass(1000);
    expect(bench.state.phase).toBe('STANDBY');
    expect(bench.register).toMatchObject({ owner: 'a', mode: 'SOLO' });
  });

  it('waits, where a fence is required, for the proof that the old primary is dead', () => {
    const bench = new Bench(protectedByA, { fence: 'required' });
    expect(kinds(bench.pass(2000))).toEqual(['read', 'cas', 'persist', 'proveFenced']);
    expect(kinds(bench.feed({ on: 'fenceResult', proven: false, detail: 'exit 1' }))).not.toContain(
      'promote',
    );
    expect(kinds(bench.feed({ on: 'fenceResult', proven: true, detail: 'exit 0' }))).toContain('promote');
  });
});

describe('a claim in doubt', () => {
  const inDoubt = () => {
    const bench = new Bench();
    bench.pass(200);
    bench.answering = false;
    bench.pass(300);
    expect(bench.state.phase).toBe('CLAIMING');
    return bench;
  };

  it('neither acknowledges nor answers, though it goes on committing', () => {
    const bench = inDoubt();
    expect(kinds(bench.feed({ on: 'committed', term: 1, epoch: 11 }))).not.toContain('ack');
    expect(kinds(bench.feed({ on: 'heard', term: 1 }))).not.toContain('answer');
    expect(bench.state.image.epoch).toBe(11);
  });

  it('acknowledges what it committed meanwhile once the claim has failed, or a full window would never move', () => {
    const bench = inDoubt();
    bench.feed({ on: 'committed', term: 1, epoch: 11 });
    bench.witness.compareAndSet('vm', bench.register, { term: 1, owner: 'a', mode: 'SOLO', syncEpoch: 10 });
    bench.answering = true;
    const done = bench.pass(500);
    expect(bench.state.phase).toBe('STANDBY');
    expect(done).toContainEqual(expect.objectContaining({ do: 'ack', term: 1, epoch: 11 }));
    expect(bench.state.promiseEndsMs).toBeGreaterThan(bench.nowMs - 500 + defaultPolicy.promiseMs);
  });

  it('lets nobody overwrite the image', () => {
    expect(kinds(inDoubt().feed({ on: 'resyncAsked', term: 1 }))).not.toContain('admitResync');
  });

  it('that was applied unseen is found to be its own', () => {
    const bench = inDoubt();
    bench.witness.compareAndSet('vm', bench.register, { term: 2, owner: 'b', mode: 'SOLO', syncEpoch: 10 });
    bench.answering = true;
    expect(kinds(bench.pass(200)).slice(-2)).toEqual(['persist', 'promote']);
  });

  it('is settled by claiming again, even if the primary is back', () => {
    const bench = inDoubt();
    bench.answering = true;
    bench.feed({ on: 'heard', term: 1 });
    bench.pass(100);
    expect(bench.register).toMatchObject({ owner: 'b', term: 2 });
  });
});

describe('a handover', () => {
  const switching: RegisterEntry = { term: 2, owner: 'b', mode: 'SWITCHING', syncEpoch: 10 };

  it('is taken up at once when the primary said that its gate is shut', () => {
    const bench = new Bench(switching);
    const effects = bench.feed({ on: 'handOver', term: 2, epoch: 10 });
    expect(kinds([...effects, ...bench.pass(10)])).toContain('promote');
    expect(bench.register).toMatchObject({ owner: 'b', mode: 'SOLO', term: 2 });
  });

  it('is taken up after the promise when only the register says so', () => {
    const bench = new Bench(switching);
    expect(kinds(bench.pass(defaultPolicy.promiseMs))).not.toContain('promote');
    expect(kinds(bench.pass(100))).toContain('promote');
  });

  it('is left alone by an image that lacks the final epoch', () => {
    const bench = new Bench({ ...switching, syncEpoch: 11 });
    bench.pass(5000);
    expect(bench.register?.mode).toBe('SWITCHING');
  });
});

describe('an operator', () => {
  const forced = { term: 1, fencedBy: 'jo, PDU 4' };
  const refusal = (effects: BackupEffect[]) => effects.find((effect) => effect.do === 'refuse')?.code;

  it('is refused a failover while the primary answers', () => {
    const bench = new Bench();
    bench.feed({ on: 'heard', term: 1 });
    expect(refusal(bench.feed({ on: 'failover', order: { term: 1 } }))).toBe('PRIMARY_ALIVE');
  });

  it('fails over by hand under the same conditions as the machine', () => {
    const bench = new Bench(protectedByA, { failover: 'manual' });
    bench.pass(400);
    bench.feed({ on: 'failover', order: { term: 1 } });
    bench.pass(10);
    expect(bench.state.phase).toBe('ACTIVE');
  });

  it('forces it by vouching for the fence; the claim goes into the register', () => {
    const bench = new Bench();
    const effects = bench.feed({ on: 'failover', order: forced });
    expect(kinds(effects)).toContain('promote');
    expect(bench.register?.claim).toBe('jo, PDU 4');
  });

  it('is told what would be lost before an old copy is forced', () => {
    const bench = new Bench({ ...protectedByA, mode: 'SOLO' });
    expect(refusal(bench.feed({ on: 'failover', order: forced }))).toBe('IMAGE_NOT_PROMOTABLE');
    expect(kinds(bench.feed({ on: 'failover', order: { ...forced, acceptDataLoss: true } }))).toContain(
      'promote',
    );
  });

  it('must accept the loss too when the witness may have forgotten it', () => {
    const bench = new Bench();
    bench.witness.restart('all-but-last-write');
    expect(refusal(bench.feed({ on: 'failover', order: forced }))).toBe('IMAGE_NOT_PROMOTABLE');
  });

  it('is refused by a witness that does not answer', () => {
    const bench = new Bench();
    bench.answering = false;
    expect(refusal(bench.feed({ on: 'failover', order: forced }))).toBe('WITNESS_UNREACHABLE');
  });

  it('whose order waited until another term is refused', () => {
    const bench = new Bench();
    bench.feed({ on: 'heard', term: 2 });
    expect(refusal(bench.feed({ on: 'failover', order: forced }))).toBe('TERM_STALE');
  });

  it('fails over without a witness only by vouching for the fence', () => {
    const bench = new Bench(undefined, { witness: false, failover: 'manual' });
    bench.pass(1000);
    expect(refusal(bench.feed({ on: 'failover', order: { term: 1 } }))).toBe('FENCE_UNPROVEN');
    expect(kinds(bench.feed({ on: 'failover', order: forced }))).toEqual(['persist', 'promote']);
  });

  it('needs no vouching without a witness where the primary shows nothing alone, once the promise is over', () => {
    const bench = new Bench(undefined, { witness: false, failover: 'manual', onBackupLoss: 'hold' });
    bench.pass(1000);
    bench.feed({ on: 'committed', term: 1, epoch: 11 });
    expect(refusal(bench.feed({ on: 'failover', order: { term: 1 } }))).toBe('PRIMARY_ALIVE');
    bench.feed({ on: 'lost' });
    expect(bench.feed({ on: 'failover', order: { term: 1 } })).toEqual([]);
    bench.pass(200);
    expect(bench.state.phase).toBe('STANDBY');
    bench.pass(100);
    expect(bench.state.phase).toBe('ACTIVE');
  });
});

describe('terms', () => {
  it('that are over are rejected', () => {
    const bench = new Bench();
    expect(bench.feed({ on: 'committed', term: 0, epoch: 11 })).toContainEqual({ do: 'reject', term: 1 });
    expect(bench.state.image.epoch).toBe(10);
  });

  it('that are new are saved before anything is done in them', () => {
    const bench = new Bench();
    expect(kinds(bench.feed({ on: 'committed', term: 3, epoch: 11 })).slice(0, 2)).toEqual([
      'persist',
      'ack',
    ]);
  });
});

describe('a policy', () => {
  it('of automatic failover needs a witness', () => {
    expect(() => checkPolicy({ ...defaultPolicy, witness: false }, [])).toThrow(/witness/);
  });

  it('of automatic failover needs a fence where output bypasses the gate', () => {
    expect(() => checkPolicy(defaultPolicy, ['shared disk sdb'])).toThrow(/sdb/);
    expect(() => checkPolicy({ ...defaultPolicy, fence: 'required' }, ['shared disk sdb'])).not.toThrow();
  });
});
