/** What the epoch loop tells the output gate, and when: the order of seal, acknowledgement and release. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { engine } from '../../native/index.ts';
import type { OutputGate } from '../../primary/output/gate.ts';
import { Backup, Primary } from '../support/pair.ts';

const PROMISE_MS = 500;
const LATE_MS = 60_000;

/** Writes down what it is told. */
class RecordingGate implements OutputGate {
  readonly name = 'recording';
  readonly maxEpochs = 64;
  readonly calls: string[] = [];
  readonly releases: { epoch: number; permitUntilMs: number; atMs: number }[] = [];
  press: () => void = () => {};

  attach(): void {
    this.calls.push('attach');
  }
  seal(epoch: number): void {
    this.calls.push(`seal ${epoch}`);
  }
  release(epoch: number, permitUntilMs: number): void {
    this.calls.push(`release ${epoch}`);
    this.releases.push({ epoch, permitUntilMs, atMs: engine().bootTimeMs() });
  }
  openUnprotected(): void {
    this.calls.push('open');
  }
  close(): void {
    this.calls.push('close');
  }
  discard(): void {
    this.calls.push('discard');
  }
  held() {
    return { packets: 3, bytes: 300, oldestMs: 1.26 };
  }
  onPressure(listener: () => void): void {
    this.press = listener;
  }
  detach(): void {}
}

describe('the epoch loop and its gate', () => {
  let backup: Backup;
  let primary: Primary;
  let gate: RecordingGate;

  beforeEach(async () => {
    backup = new Backup();
    await backup.start();
    gate = new RecordingGate();
    primary = await Primary.create(backup.endpoint, {}, { gates: [gate] });
  });
  afterEach(async () => {
    await primary.replica.stop({ forget: false });
    await backup.stop();
    backup.remove();
  });

  async function acknowledged(epochs: number): Promise<void> {
    const enough = backup.trail.commits(epochs);
    const state = primary.trail.state('PROTECTED');
    await primary.replica.start();
    await enough;
    await state;
  }

  it('leaves a guest that was never protected open until the pause of its first epoch', async () => {
    await acknowledged(1);
    expect(gate.calls.slice(0, 3)).toEqual(['attach', 'open', 'seal 1']);
  });

  it('keeps a guest that was protected before silent until its first acknowledgement', async () => {
    const state = primary.trail.state('PROTECTED');
    await primary.replica.start({ origin: { as: 'restarted' } });
    await state;
    expect(gate.calls).not.toContain('open');
    expect(gate.calls.indexOf('release 1')).toBeGreaterThan(gate.calls.indexOf('seal 1'));
  });

  it('releases an epoch only after its seal, and each in order', async () => {
    await acknowledged(20);
    const epochs = gate.releases.map(({ epoch }) => epoch);
    expect(epochs).toEqual(epochs.map((_, i) => i + 1));
    for (const epoch of epochs) {
      expect(gate.calls.indexOf(`release ${epoch}`)).toBeGreaterThan(gate.calls.indexOf(`seal ${epoch}`));
    }
  });

  it('permits for the promise, counted from before the commit was sent', async () => {
    await acknowledged(10);
    for (const { permitUntilMs, atMs } of gate.releases) {
      expect(permitUntilMs).toBeLessThan(atMs + PROMISE_MS);
      expect(permitUntilMs).toBeGreaterThan(atMs + PROMISE_MS - LATE_MS);
    }
  });

  it('opens nothing when the backup is lost', async () => {
    await acknowledged(3);
    const degraded = primary.trail.state('DEGRADED');
    await backup.stop();
    await degraded;
    expect(gate.calls.lastIndexOf('open')).toBe(1);
    await backup.start();
  });

  it('throws the held output of a fenced guest away', async () => {
    await acknowledged(3);
    const fenced = primary.trail.state('FENCED');
    await backup.standby?.failover({ vm: 'vm', force: true, fencedBy: 'test' });
    await fenced;
    expect(gate.calls).toContain('discard');
    await primary.replica.stop({ forget: true });
    expect(gate.calls.at(-1)).toBe('close');
  });

  it('opens when the operator ends the protection', async () => {
    await acknowledged(3);
    await primary.replica.stop({ forget: true });
    expect(gate.calls.at(-1)).toBe('open');
  });

  it('ends the running epoch when a gate is half full', async () => {
    primary = await Primary.create(backup.endpoint, {}, { gates: [gate], epochMs: LATE_MS });
    const ready = primary.trail.next((event) => event.kind === 'synced');
    await primary.replica.start();
    await ready;
    const epoch = primary.trail.next((event) => event.kind === 'epoch');
    gate.press();
    expect((await epoch).epoch).toBe(1);
  });

  it('tells in its status what is held', async () => {
    await acknowledged(1);
    expect(primary.replica.status().held).toEqual({ packets: 3, bytes: 300, oldestMs: 1.3 });
  });
});
