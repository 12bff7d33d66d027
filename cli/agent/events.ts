/** What happened on this host, handed to every listener of the API as it happens. */

import type { AgentEvent } from '../../shared/status.ts';

/** Events a slow listener may lag behind before the oldest are dropped for it. */
const MAX_LAG = 1000;

export class EventLog {
  readonly #listeners = new Set<(event: AgentEvent) => void>();

  emit(vm: string, kind: string, fields: Record<string, unknown>): void {
    const event: AgentEvent = { time: new Date().toISOString(), vm, kind, ...fields };
    for (const listener of this.#listeners) listener(event);
  }

  /** Calls back with each event, within emit(); the function returned ends that. */
  listen(listener: (event: AgentEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Events from now on, until the signal aborts. */
  async *follow(signal: AbortSignal): AsyncGenerator<AgentEvent> {
    let pending: AgentEvent[] = [];
    let wake: () => void = () => {};
    const listener = (event: AgentEvent) => {
      pending.push(event);
      if (pending.length > MAX_LAG) pending.shift();
      wake();
    };
    signal.addEventListener('abort', () => wake(), { once: true });
    this.#listeners.add(listener);
    try {
      while (!signal.aborted) {
        if (pending.length === 0) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
        const batch = pending;
        pending = [];
        yield* batch;
      }
    } finally {
      this.#listeners.delete(listener);
    }
  }
}
