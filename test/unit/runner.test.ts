/** How a machine's effects are carried out: in order, one event after the other, and never past a failure. */

import { describe, expect, it } from 'vitest';
import { Runner } from '../../shared/control/runner.ts';

/** A machine whose events are the effects they lead to; its state counts events. */
function runnerOf(carryOut: (effect: string) => void | Promise<void>) {
  const failures: unknown[] = [];
  const settled: number[] = [];
  const runner = new Runner<number, string[], string>({
    state: 0,
    step: (state, effects) => [state + 1, effects],
    nowMs: () => 0,
    carryOut,
    onSettled: (_, after) => settled.push(after),
    onFailed: (error) => failures.push(error),
  });
  return { runner, failures, settled };
}

describe('effects', () => {
  it('are done within feed() when none of them waits', () => {
    const done: string[] = [];
    const { runner } = runnerOf((effect) => void done.push(effect));
    void runner.feed(['a', 'b']);
    expect(done).toEqual(['a', 'b']);
    expect(runner.idle).toBe(true);
  });

  it('wait for the one before, and events for all effects of the event before', async () => {
    const done: string[] = [];
    let release: () => void = () => {};
    const { runner, settled } = runnerOf((effect) => {
      done.push(effect);
      if (effect === 'slow') {
        return new Promise<void>((resolve) => {
          release = resolve;
        });
      }
    });
    const first = runner.feed(['slow', 'b']);
    const second = runner.feed(['c']);
    expect(done).toEqual(['slow']);
    expect([runner.idle, runner.settled]).toEqual([false, 0]);
    release();
    await Promise.all([first, second]);
    expect(done).toEqual(['slow', 'b', 'c']);
    expect(settled).toEqual([1, 2]);
  });

  it('that fail stop everything after them, once and for all', async () => {
    const done: string[] = [];
    const { runner, failures } = runnerOf((effect) => {
      if (effect === 'persist') throw new Error('disk full');
      done.push(effect);
    });
    await runner.feed(['persist', 'openGate']);
    expect(await runner.feed(['openGate'])).toEqual([]);
    expect(done).toEqual([]);
    expect(failures).toHaveLength(1);
    expect(runner.settled).toBe(0);
  });
});
