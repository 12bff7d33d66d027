/** The witness as the nodes reach it: over a network that delays, by a process that freezes, dies and forgets. */

import type { WitnessEffect } from '../../shared/control/dialogue.ts';
import { MemoryWitness, type Survives } from '../../shared/control/memory-register.ts';
import type { CasResult, RegisterReading, RegisterState } from '../../shared/control/register.ts';
import type { Random } from './random.ts';
import type { Timeline } from './timeline.ts';

const VM = 'vm';
export const TIMEOUT_MS = 60;

type Answer = RegisterReading | CasResult;

export class SimulatedWitness {
  readonly store = new MemoryWitness();
  state: 'up' | 'frozen' | 'down' = 'up';
  private late: (() => void)[] = [];
  private readonly timeline: Timeline;
  private readonly random: Random;
  private readonly onWrite: (state: RegisterState) => void;

  constructor(timeline: Timeline, random: Random, onWrite: (state: RegisterState) => void) {
    this.timeline = timeline;
    this.random = random;
    this.onWrite = onWrite;
  }

  get register(): RegisterState | undefined {
    return this.store.read(VM).state;
  }

  /** `answer` is called exactly once: with what the witness said, or with `unknown` when the time is up. */
  request(effect: WitnessEffect, reachable: () => boolean, answer: (answer: Answer) => void): void {
    let answered = false;
    const settle = (result: Answer) => {
      if (!answered) answer(result);
      answered = true;
    };
    const connectedTo = this.store.runId;
    const arrive = () => {
      if (this.state === 'down' || this.store.runId !== connectedTo || !reachable()) return;
      if (this.state === 'frozen') {
        this.late.push(arrive);
        return;
      }
      const result = this.apply(effect);
      this.timeline.after(this.random.between(0.2, 3), () => {
        if (reachable()) settle(result);
      });
    };
    this.timeline.after(
      this.random.chance(0.02) ? this.random.between(20, 300) : this.random.between(0.2, 3),
      arrive,
    );
    this.timeline.after(TIMEOUT_MS, () => settle({ outcome: 'unknown', reason: 'timed out' }));
  }

  thaw(): void {
    if (this.state !== 'frozen') return;
    this.state = 'up';
    const late = this.late;
    this.late = [];
    // Two connections are served in either order.
    if (this.random.chance(0.3)) late.reverse();
    for (const arrive of late) arrive();
  }

  die(): void {
    this.state = 'down';
    this.late = [];
  }

  start(survives: Survives): void {
    this.store.restart(survives);
    this.state = 'up';
  }

  private apply(effect: WitnessEffect): Answer {
    if (effect.do === 'read') return this.store.read(VM);
    const result = this.store.compareAndSet(VM, effect.expected, effect.next, { inRun: effect.inRun });
    if (result.outcome === 'applied') this.onWrite(result.state);
    return result;
  }
}
