/** Feeds the host's watchdog for as long as every VM that counts on it may live here. */

import { Watchdog, watchdogTimes } from '../../primary/watchdog.ts';
import type { WatchdogConfig } from '../../shared/config.ts';
import type { Logger } from '../../shared/log.ts';

/** Within one timeout it is fed so often at least. */
const FEEDS_PER_TIMEOUT = 8;
const MAX_FEED_INTERVAL_MS = 1000;

/** What is asked before each feed: how many VMs here count on the watchdog, and whether all of them may live. */
export interface Dependents {
  count: number;
  mayLive: boolean;
}

export class HostWatchdog {
  /** What peers are told. */
  readonly timeoutMs: number;
  readonly #device: Watchdog;
  readonly #dependents: () => Dependents;
  readonly #log: Logger;
  readonly #timer: NodeJS.Timeout;
  #starving = false;

  /** Throws what watchdogTimes() throws. */
  constructor(config: WatchdogConfig, dependents: () => Dependents, log: Logger) {
    const { resetMs, promisedMs } = watchdogTimes(config);
    this.timeoutMs = promisedMs;
    this.#device = new Watchdog(config.device);
    this.#dependents = dependents;
    this.#log = log;
    const intervalMs = Math.min(MAX_FEED_INTERVAL_MS, resetMs / FEEDS_PER_TIMEOUT);
    this.#timer = setInterval(() => this.#tick(), intervalMs);
  }

  #tick(): void {
    const { count, mayLive } = this.#dependents();
    if (count === 0) {
      this.#device.disarm();
      return;
    }
    if (!mayLive) {
      if (!this.#starving) this.#log.fatal({ timeoutMs: this.timeoutMs }, 'the host is left to its watchdog');
      this.#starving = true;
      return;
    }
    this.#starving = false;
    try {
      this.#device.feed();
    } catch (thrown) {
      this.#log.fatal({ err: thrown }, 'the watchdog cannot be fed');
    }
  }

  /** The agent ends. While a VM counts on it the countdown goes on: the peer may take over by it. */
  close(): void {
    clearInterval(this.#timer);
    if (this.#dependents().count === 0) {
      this.#device.disarm();
      return;
    }
    this.#log.warn({ timeoutMs: this.timeoutMs }, 'the watchdog stays armed: start the agent again in time');
    this.#device.leave();
  }
}
