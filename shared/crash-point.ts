/** Named places where a test can make a process die, so that kill -9 is tried at every step of the protocol. */

/** `ROMULUS_CRASH_AT=name` or `name:count` kills this process at the count-th passage (first if not given). */
const armed = process.env.ROMULUS_CRASH_AT?.split(':');
let left = armed ? Number(armed[1] ?? 1) : 0;

export function crashPoint(name: string): void {
  if (armed === undefined || armed[0] !== name) return;
  left -= 1;
  if (left === 0) process.kill(process.pid, 'SIGKILL');
}
