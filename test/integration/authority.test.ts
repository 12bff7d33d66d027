/** Both authorities at work over a real socket, around a synthetic guest and a witness in memory. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { OutputGate } from '../../primary/output/gate.ts';
import type { ReplicaOptions } from '../../primary/replica-options.ts';
import { MemoryRegister } from '../../shared/control/memory-register.ts';
import { RomulusError } from '../../shared/errors.ts';
import { Backup, Primary } from '../support/pair.ts';

/** So long that two loaded cores answer within it. */
const SILENCE_MS = 2000;

/** Says what it was last told. */
class ToldGate implements OutputGate {
  readonly name = 'told';
  readonly maxEpochs = 64;
  told = 'shut';
  attach(): void {}
  seal(): void {
    this.told = 'held';
  }
  release(): void {}
  openUnprotected(): void {
    this.told = 'open';
  }
  close(): void {
    this.told = 'shut';
  }
  discard(): void {
    this.told = 'shut';
  }
  held() {
    return { packets: 0, bytes: 0, oldestMs: 0 };
  }
  onPressure(): void {}
  detach(): void {}
}

let backup: Backup;
let primary: Primary;
let register: MemoryRegister;
let gate: ToldGate;

async function createPrimary(options: Partial<ReplicaOptions> = {}): Promise<void> {
  await backup.start();
  primary = await Primary.create(
    backup.endpoint,
    {},
    {
      register,
      gates: [gate],
      protection: { failover: 'auto', onBackupLoss: 'solo', silenceMs: SILENCE_MS },
      ...options,
    },
  );
}

async function protect(options: Partial<ReplicaOptions> = {}): Promise<void> {
  await createPrimary(options);
  const isProtected = primary.trail.state('PROTECTED');
  await primary.replica.start();
  await isProtected;
}

async function registered() {
  const reading = await register.read('vm');
  return reading.outcome === 'read' ? reading.state : undefined;
}

const authority = (phase: string) => (event: { kind: string; phase?: unknown }) =>
  event.kind === 'authority' && event.phase === phase;

beforeEach(() => {
  backup = new Backup();
  register = new MemoryRegister();
  backup.register = register;
  gate = new ToldGate();
});

afterEach(async () => {
  await primary?.replica.stop({ forget: false });
  await backup.stop();
  backup.remove();
});

describe('a primary and its backup with a witness', () => {
  it('put the VM into the register as PROTECTED before its output is held for good', async () => {
    await protect();
    expect(await registered()).toMatchObject({ owner: 'alpha', mode: 'PROTECTED', term: 1 });
    expect(gate.told).toBe('held');
  });

  it('promote by themselves once the primary is silent, by winning the register', async () => {
    await protect();
    const failover = backup.trail.next((event) => event.kind === 'failover');
    await primary.replica.stop({ forget: false });
    const result = await failover;
    expect(result).toMatchObject({ term: 2, epoch: backup.standby?.image.committed });
    expect(await registered()).toMatchObject({ owner: 'beta', mode: 'SOLO', term: 2 });
    expect(backup.target.startedWith?.length).toBe(5000);
  });

  it('let the primary serve alone, in the register first, when the backup is lost, and protect it again', async () => {
    await protect();
    const alone = primary.trail.next(authority('SOLO'));
    await backup.stop();
    await alone;
    expect(await registered()).toMatchObject({ owner: 'alpha', mode: 'SOLO' });
    expect(gate.told).toBe('open');
    const again = primary.trail.state('PROTECTED');
    await backup.start();
    await again;
    expect(await registered()).toMatchObject({ owner: 'alpha', mode: 'PROTECTED' });
  });

  it('pause the guest instead, with `freeze`, and let it go on when the backup is back', async () => {
    await protect({ protection: { failover: 'auto', onBackupLoss: 'freeze', silenceMs: SILENCE_MS } });
    const paused = primary.trail.next((event) => event.kind === 'guest-paused');
    await backup.stop();
    await paused;
    expect(primary.replica.status()).toMatchObject({ guest: 'paused', state: 'DEGRADED' });
    const again = primary.trail.state('PROTECTED');
    await backup.start();
    await again;
    await backup.trail.commits(3);
    expect(primary.replica.status().guest).toBe('running');
  });

  it('switch over without a second term of service: the old side is fenced, the new one runs the last epoch', async () => {
    await protect();
    const failover = backup.trail.next((event) => event.kind === 'failover');
    const fenced = primary.trail.state('FENCED');
    await primary.replica.authority.switchover(1);
    const { epoch } = await failover;
    await fenced;
    expect(epoch).toBe(backup.standby?.image.committed);
    expect(gate.told).toBe('shut');
    expect(await registered()).toMatchObject({ owner: 'beta', mode: 'SOLO', term: 2 });
  });

  it('end protection in the register before the gate opens', async () => {
    await protect();
    await primary.replica.stop({ forget: true });
    expect(await registered()).toMatchObject({ owner: 'alpha', mode: 'SOLO' });
    expect(gate.told).toBe('open');
  });

  it('leave the VM where it is when its guest shuts down', async () => {
    await protect();
    const ended = primary.trail.state('ENDED');
    primary.source.end('shutdown');
    await ended;
    expect(await registered()).toMatchObject({ owner: 'alpha', mode: 'SOLO' });
    expect(backup.target.startedWith).toBeUndefined();
  });

  it('go on on the backup when the hypervisor dies, where the config says so', async () => {
    await protect({ onGuestEnd: { panicked: 'end', gone: 'failover' } });
    const failover = backup.trail.next((event) => event.kind === 'failover');
    primary.source.end('gone');
    await failover;
    expect(await registered()).toMatchObject({ owner: 'beta', term: 2 });
  });
});

describe('a term that cannot be saved', () => {
  it('stops the authority visibly, and nothing is served in it', async () => {
    await createPrimary();
    primary.term.save = () => Promise.reject(new RomulusError('IMAGE_IO', 'the term file cannot be written'));
    const degraded = primary.trail.state('DEGRADED');
    await primary.replica.start();
    await degraded;
    expect(primary.replica.status().reason).toMatch(/term file/);
    expect(gate.told).toBe('shut');
  });
});

describe('the fence command', () => {
  it.each([
    ['that proves the peer dead lets the promotion go on', 'exit 0', true],
    ['that fails keeps the guest waiting, and the register won', 'exit 1', false],
  ])('%s', async (_, script, promoted) => {
    backup.fenceOf = () => ({ command: ['sh', '-c', script], timeoutMs: 10_000 });
    await protect();
    const kind = promoted ? 'failover' : 'fence-failed';
    const event = backup.trail.next((seen) => seen.kind === kind);
    await primary.replica.stop({ forget: false });
    await event;
    expect(await registered()).toMatchObject({ owner: 'beta', mode: 'SOLO', term: 2 });
    expect(backup.target.startedWith !== undefined).toBe(promoted);
    if (promoted) return;
    const order = { vm: 'vm', force: true, fencedBy: 'the operator' };
    expect(await backup.standby?.failover(order)).toMatchObject({ term: 2 });
  });

  it('is not needed where the peer has a watchdog: the promotion waits until that has reset it', async () => {
    const watchdogMs = 1500;
    await protect({ watchdogMs });
    const fenced = backup.trail.next((event) => event.kind === 'fenced-peer');
    const failover = backup.trail.next((event) => event.kind === 'failover');
    const stoppedMs = performance.now();
    await primary.replica.stop({ forget: false });
    expect((await fenced).detail).toContain('watchdog');
    // From the last beat before the stop, that is; what the primary may still do alone comes on top.
    expect(performance.now() - stoppedMs).toBeGreaterThan(watchdogMs);
    await failover;
    expect(await registered()).toMatchObject({ owner: 'beta', mode: 'SOLO', term: 2 });
  });

  it('finds in its environment which VM of which peer it is about', async () => {
    const command = ['sh', '-c', `echo $ROMULUS_VM $ROMULUS_PEER $ROMULUS_TERM; test $ROMULUS_PEER = alpha`];
    backup.fenceOf = () => ({ command, timeoutMs: 10_000 });
    await protect();
    const fenced = backup.trail.next((event) => event.kind === 'fenced-peer');
    await primary.replica.stop({ forget: false });
    expect((await fenced).detail).toContain('vm alpha 2');
  });
});

describe('a backup that asks no witness', () => {
  it('is no backup for a primary that does', async () => {
    backup.register = undefined;
    await backup.start();
    primary = await Primary.create(
      backup.endpoint,
      {},
      { register, protection: { failover: 'auto', onBackupLoss: 'solo', silenceMs: SILENCE_MS } },
    );
    const degraded = primary.trail.state('DEGRADED');
    await primary.replica.start();
    await degraded;
    expect(primary.replica.status().reason).toMatch(/asks a witness/);
  });
});
