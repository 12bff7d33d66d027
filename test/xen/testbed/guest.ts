/** The test guest as its host sees it: how it is started, and what it says on its console. */

import type { XenHost } from './host.ts';

/** A tick each second, 128 KiB rewritten each, all 2 MiB checked every 16 ticks: the emulator needs its time for the hosts. */
export const WORKLOAD = 'console=hvc0 quiet tick=1 dirty=128 working=2';

/** Long enough for a tick on the busiest machine. */
const CONSOLE_SECONDS = 4;
const LIMIT_MS = 600_000;

export interface Tick {
  tick: number;
  /** 'sound' or 'CORRUPT' from the guest's 16th tick on: whether its memory still matches its checksums. */
  check: string;
  /** The guest's wall clock, seconds since 1970. */
  clockS: number;
}

/** The newest tick; waits for the first one of a guest that is still booting. */
export async function ticksOf(host: XenHost): Promise<Tick> {
  const deadline = Date.now() + LIMIT_MS;
  for (;;) {
    const output = await host.run(
      `timeout ${CONSOLE_SECONDS} xl console guest < /dev/null || true`,
      LIMIT_MS,
    );
    const last = [...output.matchAll(/tick (\d+) (\w+) (\d+)/g)].at(-1);
    if (last !== undefined)
      return { tick: Number(last[1]), check: last[2] as string, clockS: Number(last[3]) };
    if (Date.now() > deadline) throw new Error(`the guest on ${host.name} printed no tick:\n${output}`);
  }
}
