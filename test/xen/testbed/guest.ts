/** The test guest as its host sees it: how it is started, and what it says on its console. */

import { setTimeout as delay } from 'node:timers/promises';
import type { XenHost } from './host.ts';

/** A tick each second, 64 KiB rewritten each, all 2 MiB checked every 16 ticks: the emulator needs its time for the hosts. */
export const WORKLOAD = 'console=hvc0 quiet tick=1 dirty=64 working=2';
const TICKS_PER_CHECK = 16;
const LIMIT_MS = 360_000;
const POLL_MS = 200;

export interface Tick {
  tick: number;
  /** 'sound' or 'CORRUPT' from the guest's 16th tick on: whether its memory still matches its checksums. */
  check: string;
  /** The guest's wall clock, seconds since 1970. */
  clockS: number;
}

export interface GuestOptions {
  /** Its configuration in /testbed. */
  config?: string;
  /** More of its kernel command line. */
  extra?: string;
  /** Of xl.cfg, what differs, each in quotes of the shell: `'vif=["…"]'`. */
  settings?: string;
}

/** Starts the guest, of the workload. */
export async function createGuest(
  host: XenHost,
  { config = 'guest.cfg', extra = '', settings = '' }: GuestOptions = {},
): Promise<void> {
  await host.run(`xl create /testbed/${config} 'extra="${WORKLOAD} ${extra}"' ${settings}`, LIMIT_MS);
}

/** The guest's console, from now on: one reader all the time, since what nobody reads is kept back. */
export class GuestConsole {
  static readonly #ofHosts = new WeakMap<XenHost, GuestConsole>();
  readonly #host: XenHost;
  readonly #command: number;

  /** The reader that this host has already, unless its guest is gone: two readers would share the lines. */
  static of(host: XenHost): GuestConsole {
    const known = GuestConsole.#ofHosts.get(host);
    if (known !== undefined && !host.ended(known.#command)) return known;
    const console = new GuestConsole(host);
    GuestConsole.#ofHosts.set(host, console);
    return console;
  }

  constructor(host: XenHost) {
    this.#host = host;
    this.#command = host.start('exec xl console guest');
  }

  get text(): string {
    return this.#host.output(this.#command);
  }

  /** The newest tick, of number `atLeast` or later; waits for it, also while the guest is still booting. */
  async tick(atLeast = 1): Promise<Tick> {
    const deadline = Date.now() + LIMIT_MS;
    for (;;) {
      const [, tick, check, clockS] = [...this.text.matchAll(/tick (\d+) (\w+) (\d+)\r?\n/g)].at(-1) ?? [];
      if (check !== undefined && Number(tick) >= atLeast)
        return { tick: Number(tick), check, clockS: Number(clockS) };
      if (Date.now() > deadline || this.#host.ended(this.#command))
        throw new Error(
          `the guest on ${this.#host.name} printed no tick ${atLeast}:\n${this.text.slice(-500)}`,
        );
      await delay(POLL_MS);
    }
  }

  /** A tick that says what a check found which began after `tick`. */
  checkedAfter({ tick }: Tick): Promise<Tick> {
    return this.tick(TICKS_PER_CHECK * (Math.floor(tick / TICKS_PER_CHECK) + 1));
  }

  /** How far the guest's clock is from its host's, which is asked a moment after the guest's newest tick. */
  async clockErrorS(): Promise<number> {
    const { clockS } = await this.tick((await this.tick()).tick + 1);
    return Math.abs(clockS - Number(await this.#host.run("printf '%(%s)T'")));
  }
}
