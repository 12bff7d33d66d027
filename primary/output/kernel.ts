/** Output gate in the kernel: the `plug` queueing discipline, behind the interface of a Xen vif or a tap of QEMU's own. */

import { engine } from '../../native/index.ts';
import { RomulusError } from '../../shared/errors.ts';
import { MAX_HELD_BYTES } from '../../shared/limits.ts';
import { ifbName, interfaceIndex, makeIfb, redirect, removeIfb } from '../../shared/net/ifb.ts';
import {
  changePlug,
  createPlug,
  getQdisc,
  PLUG_HANDLES,
  PlugAction,
  type PlugActionId,
  parseAcknowledgement,
  parseBacklog,
} from '../../shared/net/netlink.ts';
import type { Epoch } from '../../shared/vm.ts';
import type { Held, OutputGate } from './gate.ts';
import { PlugQueue } from './plug-queue.ts';

const EEXIST = 17;

/** Sends one request and returns the answer; with `untilMs`, throws `code` ETIME once that time of CLOCK_BOOTTIME has come. */
export type SendRequest = (request: Buffer, untilMs?: number) => Buffer;

/**
 * The queue outlives this process, plugged: a dead agent is a shut gate. One epoch at a time waits for its
 * acknowledgement. The kernel drops what goes beyond MAX_HELD_BYTES, so the loop hears of pressure at half of it.
 */
export class KernelGate implements OutputGate {
  readonly name: string;
  readonly maxEpochs = 1;
  readonly #device: string;
  readonly #send: SendRequest;
  readonly #queue = new PlugQueue();
  #ifindex: number | undefined;
  #sequence = 0;
  #oldestMs: number | undefined;
  #onPressure: () => void = () => {};

  /** `device`: the host's end of the guest's network device. */
  constructor(
    device: string,
    send: SendRequest = (request, untilMs) => engine().netlinkRequest(request, untilMs),
  ) {
    this.name = `kernel ${device}`;
    this.#device = device;
    this.#send = send;
  }

  /** Plugged before anything is redirected to it: at no moment does output pass that a dead agent's gate held. */
  attach(): void {
    interfaceIndex(this.#device); // says so when there is none
    const ifb = ifbName(this.#device);
    makeIfb(ifb);
    this.attachTo(interfaceIndex(ifb));
    redirect(this.#device, ifb);
  }

  /**
   * Plugs the interface of this index, whose traffic is the guest's output. What a killed predecessor left in its queue is
   * thrown away: nobody knows any more which epochs it belonged to.
   */
  attachTo(ifindex: number): void {
    this.#ifindex = ifindex;
    this.#queue.reset();
    const [first, second] = PLUG_HANDLES;
    const error = this.#answered(createPlug(ifindex, this.#next(), first));
    if (error === EEXIST) this.#acknowledged(createPlug(ifindex, this.#next(), second));
    else this.#refuse(error);
    this.#change(PlugAction.limit, MAX_HELD_BYTES);
  }

  seal(epoch: Epoch): void {
    this.#oldestMs ??= engine().bootTimeMs();
    for (const action of this.#queue.seal(epoch)) this.#change(action);
    const { bytes } = this.held();
    if (bytes * 2 >= MAX_HELD_BYTES) this.#onPressure();
  }

  release(epoch: Epoch, permitUntilMs: number): void {
    if (engine().bootTimeMs() >= permitUntilMs) return; // the next acknowledgement brings a new permit
    for (const action of this.#queue.release(epoch)) {
      try {
        this.#change(action, 0, permitUntilMs);
      } catch (thrown) {
        // It ran out between the look above and the sending: the epoch waits, as if this had never been tried.
        if ((thrown as NodeJS.ErrnoException).code === 'ETIME') return;
        throw thrown;
      }
      this.#queue.released();
      this.#oldestMs = undefined;
    }
  }

  openUnprotected(): void {
    for (const action of this.#queue.openUnprotected()) this.#change(action);
    this.#oldestMs = undefined;
  }

  close(): void {
    for (const action of this.#queue.close()) this.#change(action);
  }

  discard(): void {
    this.attachTo(this.#attached());
  }

  held(): Held {
    const sequence = this.#next();
    const { packets, bytes } = parseBacklog(this.#send(getQdisc(this.#attached(), sequence)), sequence);
    const oldestMs = packets > 0 && this.#oldestMs !== undefined ? engine().bootTimeMs() - this.#oldestMs : 0;
    return { packets, bytes, oldestMs };
  }

  onPressure(listener: () => void): void {
    this.#onPressure = listener;
  }

  /** Leaves a queue that holds back as it is, for the next agent; one that lets all pass is taken away. */
  detach(): void {
    const made = this.#ifindex !== undefined && this.#queue.open;
    this.#ifindex = undefined;
    if (made) removeIfb(this.#device, ifbName(this.#device));
  }

  #change(action: PlugActionId, limitBytes = 0, untilMs?: number): void {
    this.#acknowledged(changePlug(this.#attached(), this.#next(), action, limitBytes), untilMs);
  }

  #acknowledged(request: Buffer, untilMs?: number): void {
    this.#refuse(this.#answered(request, untilMs));
  }

  #answered(request: Buffer, untilMs?: number): number {
    return parseAcknowledgement(this.#send(request, untilMs), this.#sequence);
  }

  #refuse(error: number): void {
    if (error === 0) return;
    throw new RomulusError(
      'PREREQUISITE',
      `the kernel refused the plug queue on ${this.#device}: errno ${error}`,
      {
        hint: 'modprobe sch_plug; where the kernel has none, use the relay (romulus doctor)',
      },
    );
  }

  #next(): number {
    this.#sequence += 1;
    return this.#sequence;
  }

  #attached(): number {
    if (this.#ifindex === undefined) throw new RomulusError('INTERNAL', `${this.name} is not attached`);
    return this.#ifindex;
  }
}
