/** What an agent says of the guest, followed by one process: in the emulator, starting one takes seconds. */

import { setTimeout as delay } from 'node:timers/promises';
import type { VmStatus } from '../../../shared/status.ts';
import type { XenHost } from './host.ts';

const POLL_MS = 500;
/** Between two lines about what is waited for. */
const TOLD_EVERY_MS = 15_000;

export class StatusWatch {
  readonly #host: XenHost;
  readonly #say: (line: string) => void;
  #command: number;

  constructor(host: XenHost, say: (line: string) => void) {
    this.#host = host;
    this.#say = say;
    this.#command = this.#start();
  }

  #start(): number {
    const { name } = this.#host;
    return this.#host.start(
      `exec node main.mjs --json --config ${name}.yaml status guest --watch 2>/dev/null`,
    );
  }

  /** All it has said, oldest first; the line it is just writing is left out. */
  get statuses(): VmStatus[] {
    const lines = this.#host.output(this.#command).split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as VmStatus).filter(({ state }) => state !== undefined);
  }

  /** The newest status, once it is as wanted. */
  async until(fits: (status: VmStatus) => boolean, limitMs: number): Promise<VmStatus> {
    const deadline = performance.now() + limitMs;
    for (let toldMs = Number.NEGATIVE_INFINITY; ; await delay(POLL_MS)) {
      const status = this.statuses.at(-1);
      if (status !== undefined && fits(status)) return status;
      const { state = 'unknown', reason = '', ackedEpoch = 0 } = status ?? {};
      if (performance.now() > deadline)
        throw new Error(`the guest is ${state} on ${this.#host.name}: ${reason}`);
      if (performance.now() - toldMs > TOLD_EVERY_MS) {
        this.#say(`the guest is ${state}, epoch ${ackedEpoch} is acknowledged ${reason}`);
        toldMs = performance.now();
      }
      // It ends with an error while the guest changes its role there.
      if (this.#host.ended(this.#command)) this.#command = this.#start();
    }
  }
}
