/** Drives one authority machine: one event at a time, its effects carried out in order, each finished before the next. */

import type { Step } from './authority.ts';

export interface RunnerOptions<State, Event, Effect, Context> {
  state: State;
  step(state: State, event: Event, nowMs: number): Step<State, Effect>;
  /** CLOCK_BOOTTIME: it counts suspend, and is the clock the gate itself looks at. */
  nowMs(): number;
  /** `context` came with the event that led to the effect. A throw stops this authority for good. */
  carryOut(effect: Effect, context: Context | undefined): void | Promise<void>;
  /** After each event and all its effects. */
  onSettled(before: State, after: State): void;
  /** An effect failed: nothing further is decided here. Called once. */
  onFailed(error: unknown): void;
}

interface Fed<Event, Effect, Context> {
  event: Event;
  context: Context | undefined;
  resolve(effects: readonly Effect[]): void;
}

export class Runner<State, Event, Effect, Context = undefined> {
  readonly #options: RunnerOptions<State, Event, Effect, Context>;
  #state: State;
  #settled: State;
  #fed: Fed<Event, Effect, Context>[] = [];
  #busy = false;
  #stopped = false;

  constructor(options: RunnerOptions<State, Event, Effect, Context>) {
    this.#options = options;
    this.#state = options.state;
    this.#settled = options.state;
  }

  /** What the machine believes; its effects may still be under way. */
  get state(): State {
    return this.#state;
  }

  /** The state whose effects are all carried out: nobody outside may act on a later one. */
  get settled(): State {
    return this.#settled;
  }

  /** No effect is under way: what is fed now is stepped, and its synchronous effects done, before feed() returns. */
  get idle(): boolean {
    return !this.#busy;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Resolves with the event's effects once they are carried out; with none if the authority was stopped. */
  feed(event: Event, context?: Context): Promise<readonly Effect[]> {
    return new Promise((resolve) => {
      if (this.#stopped) {
        resolve([]);
        return;
      }
      this.#fed.push({ event, context, resolve });
      if (!this.#busy) void this.#drain();
    });
  }

  /** What was fed and not yet stepped is dropped; the effect under way ends by itself. */
  stop(): void {
    this.#stopped = true;
    for (const { resolve } of this.#fed.splice(0)) resolve([]);
  }

  async #drain(): Promise<void> {
    this.#busy = true;
    for (let fed = this.#fed.shift(); fed !== undefined; fed = this.#fed.shift()) {
      const before = this.#state;
      const [state, effects] = this.#options.step(before, fed.event, this.#options.nowMs());
      this.#state = state;
      try {
        for (const effect of effects) {
          // Awaited only where there is something to wait for: a sealed pause cannot wait for a turn of the event loop.
          const pending = this.#options.carryOut(effect, fed.context);
          if (pending !== undefined) await pending;
          if (this.#stopped) break;
        }
      } catch (thrown) {
        this.stop();
        this.#options.onFailed(thrown);
      }
      if (!this.#stopped) {
        this.#settled = state;
        this.#options.onSettled(before, state);
      }
      fed.resolve(effects);
    }
    this.#busy = false;
  }
}
