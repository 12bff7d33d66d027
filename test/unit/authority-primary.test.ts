/** What a primary may do, claim by claim; time and witness are in the test's hand. */

import { describe, expect, it } from 'vitest';
import { stepPrimary } from '../../shared/control/authority-primary.ts';
import { MemoryWitness } from '../../shared/control/memory-register.ts';
import { defaultPolicy, type Policy } from '../../shared/control/policy.ts';
import {
  type PrimaryEffect,
  type PrimaryEvent,
  primaryAfterPromotion,
  startPrimary,
} from '../../shared/control/primary-state.ts';

const party = { vm: 'vm', self: 'a', peer: 'b' };

/** A primary and a witness that answers at once, unless the test holds it back. */
class Bench {
  nowMs = 0;
  readonly witness = new MemoryWitness();
  readonly done: PrimaryEffect[] = [];
  answering = true;
  state;

  constructor(policy: Partial<Policy> = {}, term = 0) {
    this.state = startPrimary(party, { ...defaultPolicy, ...policy }, { term, paused: false, nowMs: 0 });
  }

  feed(event: PrimaryEvent): PrimaryEffect[] {
    const from = this.done.length;
    const [state, effects] = stepPrimary(this.state, event, this.nowMs);
    this.state = state;
    this.done.push(...effects);
    for (const effect of effects) {
      if (effect.do === 'read' || effect.do === 'cas') this.answer(effect);
    }
    return this.done.slice(from);
  }

  private answer(effect: Extract<PrimaryEffect, { do: 'read' | 'cas' }>): void {
    const { ask } = effect;
    if (!this.answering) this.feed({ on: 'answer', ask, answer: { outcome: 'unknown', reason: 'silent' } });
    else if (effect.do === 'read') this.feed({ on: 'answer', ask, answer: this.witness.read('vm') });
    else {
      const { expected, next, inRun } = effect;
      this.feed({ on: 'answer', ask, answer: this.witness.compareAndSet('vm', expected, next, { inRun }) });
    }
  }

  /** Lets time pass in ticks of 10 ms, the peer answering beats or not. */
  pass(durationMs: number, peer: 'answers' | 'silent'): PrimaryEffect[] {
    const from = this.done.length;
    for (const end = this.nowMs + durationMs; this.nowMs < end; ) {
      this.nowMs += 10;
      if (peer === 'answers') this.feed({ on: 'heard', term: this.state.term, sentMs: this.nowMs - 1 });
      this.feed({ on: 'tick' });
    }
    return this.done.slice(from);
  }

  ack(epoch: number, sentMs = this.nowMs): PrimaryEffect[] {
    return this.feed({ on: 'ack', term: this.state.term, epoch, sentMs });
  }

  /** Protects from epoch 10 on. */
  protect(): this {
    this.pass(1000, 'answers');
    this.feed({ on: 'joinCapture', epoch: 10 });
    this.ack(10);
    return this;
  }

  get register() {
    return this.witness.read('vm').state;
  }
}

const kinds = (effects: PrimaryEffect[]) => effects.map((effect) => effect.do);

describe('a primary that starts', () => {
  it('creates the register, saves its term, and serves alone', () => {
    const bench = new Bench();
    const effects = bench.feed({ on: 'tick' });
    expect(bench.register).toMatchObject({ owner: 'a', mode: 'SYNCING', term: 1 });
    expect(effects).toContainEqual({ do: 'persist', record: { term: 1, role: 'primary', epoch: 0 } });
    expect(kinds(effects).at(-1)).toBe('openGateFully');
  });

  it('keeps its gate shut as long as the witness is silent', () => {
    const bench = new Bench();
    bench.answering = false;
    expect(kinds(bench.pass(5000, 'answers'))).not.toContain('openGateFully');
  });

  it('fences itself if another node owns the VM', () => {
    const bench = new Bench({}, 1);
    bench.witness.compareAndSet('vm', undefined, { term: 2, owner: 'b', mode: 'SOLO', syncEpoch: 5 });
    expect(kinds(bench.feed({ on: 'tick' })).slice(1, 4)).toEqual(['closeGate', 'fence', 'persist']);
    expect(bench.state.phase).toBe('FENCED');
  });

  it('writes the register before it serves, so that no write of its earlier life comes after', () => {
    const bench = new Bench({}, 1);
    bench.witness.compareAndSet('vm', undefined, { term: 1, owner: 'a', mode: 'SOLO', syncEpoch: 5 });
    bench.feed({ on: 'tick' });
    expect(bench.register?.seq).toBe(2);
    expect(bench.state.phase).toBe('SOLO');
  });

  it('does nothing by itself if the witness has forgotten the VM, until an operator confirms', () => {
    const bench = new Bench({}, 3);
    bench.pass(3000, 'answers');
    expect(bench.state).toMatchObject({ phase: 'STARTING', barred: expect.stringContaining('forgotten') });
    bench.feed({ on: 'confirm', term: 3 });
    bench.pass(100, 'answers');
    expect(bench.register?.owner).toBe('a');
    expect(bench.register?.term).toBeGreaterThan(3);
    expect(bench.state.phase).toBe('SOLO');
  });
});

describe('the output gate', () => {
  it('holds output from the capture of the sync epoch on, before the register is asked', () => {
    const bench = new Bench();
    bench.pass(1000, 'answers');
    expect(kinds(bench.feed({ on: 'joinCapture', epoch: 10 }))).toEqual(['holdOutput']);
    expect(bench.register?.mode).toBe('SYNCING');
  });

  it('opens for an epoch only after its acknowledgement, and only within the promise from sending COMMIT', () => {
    const bench = new Bench().protect();
    const sentMs = bench.nowMs;
    bench.nowMs += 40;
    expect(bench.ack(11, sentMs)).toEqual([
      { do: 'openGate', epoch: 11, untilMs: sentMs + defaultPolicy.promiseMs },
    ]);
  });

  it('asks again instead of opening when the acknowledgement came too late', () => {
    const bench = new Bench().protect();
    const sentMs = bench.nowMs;
    bench.nowMs += defaultPolicy.promiseMs;
    expect(bench.ack(11, sentMs)).toContainEqual({ do: 'renew', epoch: 11 });
    expect(kinds(bench.done.slice(-3))).not.toContain('openGate');
  });

  it('ignores acknowledgements of another term', () => {
    const bench = new Bench().protect();
    expect(bench.feed({ on: 'ack', term: 0, epoch: 11, sentMs: bench.nowMs })).toEqual([]);
  });
});

describe('a primary that loses its backup', () => {
  it('runs on alone only after the register says SOLO', () => {
    const bench = new Bench().protect();
    const effects = bench.pass(400, 'silent');
    expect(bench.register?.mode).toBe('SOLO');
    expect(kinds(effects).indexOf('cas')).toBeLessThan(kinds(effects).indexOf('openGateFully'));
  });

  it('keeps the gate held while its claim is in doubt', () => {
    const bench = new Bench().protect();
    bench.answering = false;
    expect(kinds(bench.pass(1500, 'silent'))).not.toContain('openGateFully');
    expect(bench.state.witness.inDoubt).toBeDefined();
  });

  it('finds a claim that was applied late to be its own', () => {
    const bench = new Bench().protect();
    bench.answering = false;
    bench.pass(400, 'silent');
    const late = bench.done.findLast((effect) => effect.do === 'cas');
    if (late?.do !== 'cas') throw new Error('no claim was made');
    bench.witness.compareAndSet('vm', late.expected, late.next);
    bench.answering = true;
    bench.pass(200, 'silent');
    expect(bench.state.phase).toBe('SOLO');
    expect(bench.register?.seq).toBe((late.expected?.seq ?? 0) + 1);
  });

  it('is fenced, gate first, when the backup was faster', () => {
    const bench = new Bench().protect();
    const register = bench.register;
    bench.witness.compareAndSet('vm', register, { term: 2, owner: 'b', mode: 'SOLO', syncEpoch: 10 });
    const effects = bench.pass(400, 'silent');
    expect(kinds(effects)).toContain('fence');
    expect(kinds(effects).indexOf('closeGate')).toBeLessThan(kinds(effects).indexOf('fence'));
    expect(kinds(effects)).not.toContain('openGateFully');
  });

  it('pauses the guest when nobody answers, and resumes it when the backup does', () => {
    const bench = new Bench({ onBackupLoss: 'freeze' }).protect();
    bench.answering = false;
    expect(kinds(bench.pass(3000, 'silent'))).toContain('pauseGuest');
    expect(kinds(bench.pass(20, 'answers'))).toContain('resumeGuest');
    expect(bench.state.phase).toBe('PROTECTED');
  });

  it('with policy freeze asks for nothing and waits', () => {
    const bench = new Bench({ onBackupLoss: 'freeze' }).protect();
    bench.pass(5000, 'silent');
    expect(bench.register?.mode).toBe('PROTECTED');
    expect(bench.state.paused).toBe(true);
  });

  it('goes on PROTECTED through a silence of the witness as long as the backup answers', () => {
    const bench = new Bench().protect();
    bench.answering = false;
    bench.pass(5000, 'answers');
    expect(bench.state.phase).toBe('PROTECTED');
    expect(kinds(bench.ack(12))).toEqual(['openGate']);
  });

  it('does not take answers to long-gone questions for a living backup', () => {
    const bench = new Bench().protect();
    const before = bench.nowMs;
    bench.nowMs += 10_000; // SIGSTOP, SIGCONT
    bench.feed({ on: 'heard', term: 1, sentMs: before });
    bench.feed({ on: 'tick' });
    expect(bench.state.phase).toBe('SOLO');
  });

  it('waits longer before each new try on a flapping link', () => {
    const bench = new Bench();
    const waitedMs: number[] = [];
    for (let i = 0; i < 3; i += 1) {
      const start = bench.nowMs;
      while (!bench.state.resyncing) bench.pass(10, 'answers');
      waitedMs.push(bench.nowMs - start);
      bench.feed({ on: 'joinCapture', epoch: 10 * (i + 1) });
      bench.ack(10 * (i + 1));
      bench.pass(400, 'silent');
    }
    expect(waitedMs[1]).toBeGreaterThan(waitedMs[0] ?? 0);
    expect(waitedMs[2]).toBeGreaterThan(1.5 * (waitedMs[1] ?? 0));
  });
});

describe('a restarted witness', () => {
  it('is confirmed as soon as the backup has answered something sent since', () => {
    const bench = new Bench().protect();
    bench.witness.restart('everything');
    bench.pass(1200, 'answers');
    expect(bench.register).toMatchObject({ mode: 'PROTECTED', runId: bench.witness.runId });
  });

  it('gives no SOLO without that proof: the promotion may be what it lost', () => {
    const bench = new Bench().protect();
    bench.witness.restart('everything');
    const effects = bench.pass(5000, 'silent');
    expect(bench.state.phase).toBe('LEAVING');
    expect(kinds(effects)).not.toContain('openGateFully');
  });

  it('that forgot SOLO is told again by the node that serves alone', () => {
    const bench = new Bench().protect();
    bench.pass(400, 'silent');
    bench.witness.restart('all-but-last-write');
    expect(bench.register?.mode).toBe('PROTECTED');
    bench.pass(1000, 'silent');
    expect(bench.register).toMatchObject({ mode: 'SOLO', runId: bench.witness.runId });
  });
});

describe('a switchover', () => {
  const handing = () => {
    const bench = new Bench().protect();
    expect(kinds(bench.feed({ on: 'switchover', term: 1 }))).toEqual(['prepareHandOver']);
    bench.ack(11);
    return bench;
  };

  it('shuts the gate before the register changes, and tells the peer after', () => {
    const bench = handing();
    const effects = kinds(bench.feed({ on: 'handOver', epoch: 11, guestAlive: true }));
    expect(effects).toEqual(['closeGate', 'cas', 'persist', 'tellHandOver']);
    expect(bench.register).toMatchObject({ owner: 'b', mode: 'SWITCHING', term: 2, syncEpoch: 11 });
  });

  it('is called off, and the guest resumed, if the backup is lost before', () => {
    const bench = handing();
    expect(kinds(bench.pass(400, 'silent'))).toContain('resumeGuest');
    expect(bench.feed({ on: 'handOver', epoch: 11, guestAlive: true })).toContainEqual(
      expect.objectContaining({ do: 'refuse' }),
    );
  });

  it('is taken back if the peer does not resume in time', () => {
    const bench = handing();
    bench.feed({ on: 'handOver', epoch: 11, guestAlive: true });
    const effects = bench.pass(defaultPolicy.reclaimAfterMs + 100, 'silent');
    expect(bench.register).toMatchObject({ owner: 'a', mode: 'SOLO', term: 3 });
    expect(kinds(effects)).toEqual(expect.arrayContaining(['persist', 'resumeGuest', 'openGateFully']));
  });

  it('leaves the old side fenced once the peer has resumed', () => {
    const bench = handing();
    bench.feed({ on: 'handOver', epoch: 11, guestAlive: true });
    bench.witness.compareAndSet('vm', bench.register, { term: 2, owner: 'b', mode: 'SOLO', syncEpoch: 11 });
    bench.pass(200, 'answers');
    expect(bench.state.phase).toBe('FENCED');
  });

  it('is refused in another term than the operator saw', () => {
    const bench = new Bench().protect();
    expect(bench.feed({ on: 'switchover', term: 7 })).toContainEqual(
      expect.objectContaining({ code: 'TERM_STALE' }),
    );
  });
});

describe('the end of a guest', () => {
  it('is no failover: the register goes to SOLO and nothing is shown any more', () => {
    const bench = new Bench().protect();
    bench.feed({ on: 'guestEnded', how: 'shutdown' });
    expect(bench.register).toMatchObject({ owner: 'a', mode: 'SOLO' });
    expect(bench.state.phase).toBe('ENDED');
  });

  it('by a dead hypervisor can be handed to the backup at its last acknowledged epoch', () => {
    const bench = new Bench().protect();
    bench.feed({ on: 'handOver', epoch: 10, guestAlive: false });
    expect(bench.register).toMatchObject({ owner: 'b', mode: 'SWITCHING', syncEpoch: 10 });
    bench.pass(10_000, 'silent');
    expect(bench.register?.owner).toBe('b');
  });
});

describe('a higher term', () => {
  it.each(['heard', 'ack', 'rejected'] as const)('in %s fences at once', (on) => {
    const bench = new Bench().protect();
    const event = { on, term: 2, epoch: 11, sentMs: bench.nowMs };
    expect(kinds(bench.feed(event)).slice(0, 2)).toEqual(['closeGate', 'fence']);
  });
});

describe('without a witness', () => {
  it('protects and runs on alone by its own word, since only a person can fail over', () => {
    const bench = new Bench({ witness: false, failover: 'manual' }).protect();
    expect(bench.state.phase).toBe('PROTECTED');
    bench.pass(400, 'silent');
    expect(bench.state.phase).toBe('SOLO');
    expect(kinds(bench.done)).not.toContain('cas');
  });

  it('shows nothing while its backup is lost, with `hold`, until the backup acknowledges again', () => {
    const bench = new Bench({ witness: false, failover: 'manual', onBackupLoss: 'hold' }).protect();
    const before = bench.done.length;
    bench.pass(400, 'silent');
    expect(bench.state.phase).toBe('SOLO');
    expect(kinds(bench.done.slice(before))).not.toContain('openGateFully');
  });

  it('shows everything once an operator says that it is alone, in a term no older image fits', () => {
    const bench = new Bench({ witness: false, failover: 'manual', onBackupLoss: 'hold' }).protect();
    bench.pass(400, 'silent');
    const { term } = bench.state;
    expect(kinds(bench.feed({ on: 'confirm', term }))).toEqual(['persist', 'openGateFully']);
    expect(bench.state.term).toBeGreaterThan(term);
  });
});

describe('a guest promoted by hand, without a witness', () => {
  it('is protected again once its backup holds the resync, though no register was ever written', () => {
    const bench = new Bench({ witness: false, onBackupLoss: 'hold' });
    const start = { term: 2, nowMs: bench.nowMs };
    [bench.state] = primaryAfterPromotion(party, bench.state.policy, undefined, start);
    bench.pass(1000, 'answers');
    bench.feed({ on: 'joinCapture', epoch: 10 });
    expect(bench.state.phase).toBe('JOINING');
    bench.ack(10);
    expect(bench.state.phase).toBe('PROTECTED');
  });
});
