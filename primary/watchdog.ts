/** The kernel's watchdog (Documentation/watchdog/watchdog-api.rst): not fed in time, it resets the host. In a Xen dom0 `xen_wdt` is one. */

import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { basename } from 'node:path';
import type { WatchdogConfig } from '../shared/config.ts';
import { RomulusError } from '../shared/errors.ts';

/** The first device has a name without a number, too. */
const FIRST = 'watchdog';
/** Written last, it lets the device be closed without a reset, unless the driver was told otherwise (`nowayout`). */
const MAGIC_CLOSE = 'V';

export interface WatchdogTimes {
  /** Time after which the device resets a host that does not feed it, as the kernel says. */
  resetMs: number;
  /** What peers are told: the same, or what the config allows them to count on. */
  promisedMs: number;
}

/** Throws PREREQUISITE without a device, CONFIG_INVALID where less is promised than the device takes. */
export function watchdogTimes({ device, timeoutMs }: WatchdogConfig): WatchdogTimes {
  const resetMs = resetTimeMs(device);
  if (timeoutMs === undefined || timeoutMs >= resetMs) return { resetMs, promisedMs: timeoutMs ?? resetMs };
  throw new RomulusError(
    'CONFIG_INVALID',
    `"watchdog.timeout" is ${timeoutMs} ms, ${device} takes ${resetMs} ms`,
    {
      hint: `load its driver with a shorter time (softdog: soft_margin=${Math.floor(timeoutMs / 1000)})`,
    },
  );
}

function resetTimeMs(device: string): number {
  const name = basename(device) === FIRST ? `${FIRST}0` : basename(device);
  const path = `/sys/class/watchdog/${name}/timeout`;
  try {
    const seconds = Number(readFileSync(path, 'utf8'));
    if (seconds > 0) return seconds * 1000;
  } catch {
    // said below
  }
  throw new RomulusError('PREREQUISITE', `there is no watchdog ${device} (${path} cannot be read)`, {
    hint: 'modprobe softdog soft_margin=10 (in a Xen dom0: modprobe xen_wdt), or take "watchdog" out of agent.yaml',
  });
}

/** Opened by the first feed(): that alone starts the countdown. */
export class Watchdog {
  readonly #device: string;
  #fd: number | undefined;

  constructor(device: string) {
    this.#device = device;
  }

  /** The countdown is on: whoever stops feeding it loses the host. */
  get armed(): boolean {
    return this.#fd !== undefined;
  }

  /** Begins the countdown anew. Throws PREREQUISITE when the device cannot be opened or written. */
  feed(): void {
    try {
      this.#fd ??= openSync(this.#device, 'w');
      writeSync(this.#fd, '1');
    } catch (cause) {
      throw new RomulusError('PREREQUISITE', `cannot feed ${this.#device}: ${(cause as Error).message}`, {
        hint: `another program may hold it: lsof ${this.#device}`,
        cause,
      });
    }
  }

  /** Ends the countdown. */
  disarm(): void {
    if (this.#fd === undefined) return;
    writeSync(this.#fd, MAGIC_CLOSE);
    this.leave();
  }

  /** Lets go of the device with the countdown running: the next agent feeds it in time, or the host is reset. */
  leave(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}
