/** The receiving half of a replication connection: stages, checks, commits and acknowledges epochs, then applies them. */

import type { WebSocket } from 'ws';
import { crashPoint } from '../shared/crash-point.ts';
import { asRomulusError, RomulusError } from '../shared/errors.ts';
import { MAX_PAYLOAD_BYTES } from '../shared/limits.ts';
import type { Epoch } from '../shared/vm.ts';
import { type Frame, framed, PROTOCOL_VERSION } from '../shared/wire/frame.ts';
import { Link } from '../shared/wire/link.ts';
import {
  type Ack,
  type Hello,
  Kind,
  parseChunk,
  parseCommit,
  parseHello,
  parseSync,
  type Sync,
  type Welcome,
} from '../shared/wire/messages.ts';
import { emptyEpoch, type StagedEpoch, type StandbyImage } from './image/standby-image.ts';
import type { Standby } from './standby.ts';

/** A connection that has not said hello by then is closed. */
const HELLO_TIMEOUT_MS = 5000;
/** Committed epochs that may wait to be applied; beyond, acknowledgements wait and the primary's window closes. */
const MAX_UNAPPLIED_EPOCHS = 16;

export interface ReceiverOptions {
  node: string;
  silenceMs: number;
  promiseMs: number;
  /** Finds or makes the standby a hello is for; throws what is to be answered. */
  standbyFor(hello: Hello): Promise<Standby>;
}

export class Receiver {
  readonly #options: ReceiverOptions;
  readonly #link: Link;
  readonly #helloTimer: NodeJS.Timeout;
  #standby: Standby | undefined;
  #term = 0;
  #staged: StagedEpoch = emptyEpoch();
  #stagedEpoch: Epoch = 0;
  #stagedChunks = 0;
  #unapplied = 0;
  #applying: Promise<void> = Promise.resolve();
  receivedBytes = 0;

  constructor(socket: WebSocket, options: ReceiverOptions) {
    this.#options = options;
    this.#link = new Link(socket, Math.max(options.silenceMs, HELLO_TIMEOUT_MS), {
      onFrame: (frame) => this.#onFrame(frame),
      onClose: (error, peerError) => this.#onClose(error ?? (peerError && RomulusError.fromJSON(peerError))),
    });
    this.#helloTimer = setTimeout(
      () => this.#link.fail(new RomulusError('WIRE_ORDER', 'no hello came in time')),
      HELLO_TIMEOUT_MS,
    );
  }

  get open(): boolean {
    return !this.#link.closed;
  }

  get silentMs(): number {
    return this.#link.silentMs;
  }

  close(): void {
    clearTimeout(this.#helloTimer);
    this.#link.close();
  }

  /** Ends the connection with a word to the primary. */
  refuse(error: RomulusError, term: number): void {
    this.#link.fail(error, term);
  }

  /** Resolves when every committed epoch is in the image (or could not be applied, which the standby knows). */
  settled(): Promise<void> {
    return this.#applying;
  }

  async #onFrame(frame: Frame): Promise<void> {
    this.receivedBytes += frame.message.length;
    if (this.#standby === undefined) {
      if (frame.kind !== Kind.hello) throw new RomulusError('WIRE_ORDER', 'the first frame was no hello');
      await this.#onHello(parseHello(frame.head));
      return;
    }
    switch (frame.kind) {
      case Kind.sync:
        return this.#onSync(parseSync(frame.head), this.#standby);
      case Kind.chunk:
        return this.#onChunk(frame, this.#standby.image);
      case Kind.commit:
        return this.#onCommit(frame, this.#standby);
      case Kind.bye:
        await this.settled();
        return this.#standby.drop();
      default:
        throw new RomulusError(
          'WIRE_FRAME',
          `malformed frame: kind ${frame.kind} is not one a primary sends`,
        );
    }
  }

  async #onHello(hello: Hello): Promise<void> {
    clearTimeout(this.#helloTimer);
    const [min, max] = hello.protocol;
    if (PROTOCOL_VERSION < min || PROTOCOL_VERSION > max) {
      throw new RomulusError(
        'WIRE_VERSION',
        `the primary speaks protocol ${min} to ${max}, this backup ${PROTOCOL_VERSION}`,
        {
          hint: 'install the same release of Romulus on both hosts',
        },
      );
    }
    let standby: Standby | undefined;
    try {
      standby = await this.#options.standbyFor(hello);
      await standby.accept(hello, this);
    } catch (thrown) {
      this.#link.fail(thrown, standby?.term);
      return;
    }
    this.#standby = standby;
    this.#term = hello.term;
    this.#link.silenceMs = this.#options.silenceMs;
    const { lineage, committed } = standby.image;
    const welcome: Welcome = {
      protocol: PROTOCOL_VERSION,
      node: this.#options.node,
      term: hello.term,
      lineage,
      committed,
    };
    await this.#link.send(Kind.welcome, welcome);
  }

  async #onSync(sync: Sync, standby: Standby): Promise<void> {
    await this.settled();
    const disk = await standby.beginSync(sync);
    if (disk === undefined) return this.#link.send(Kind.ready, {});
    await this.#link.send(Kind.ready, { disk: disk.answer }, framed(disk.dirtyBits));
  }

  async #onChunk(frame: Frame, image: StandbyImage): Promise<void> {
    const chunk = parseChunk(frame.head, MAX_PAYLOAD_BYTES);
    if (chunk.epoch === 0) {
      if (image.record?.syncing !== true)
        throw new RomulusError('WIRE_ORDER', 'a pre-copy chunk came after the first commit');
      const staged = emptyEpoch();
      await image.stage(staged, chunk, frame.payload);
      await image.applyPrecopy(staged);
      return;
    }
    if (chunk.epoch !== image.committed + 1) {
      throw new RomulusError(
        'WIRE_ORDER',
        `a chunk of epoch ${chunk.epoch} came where ${image.committed + 1} was due`,
      );
    }
    if (chunk.epoch !== this.#stagedEpoch) this.#beginEpoch(chunk.epoch);
    await image.stage(this.#staged, chunk, frame.payload);
    if (this.#link.closed) return; // the journal was closed meanwhile, or is the promoted guest's past
    image.journal.append(chunk.epoch, frame.message);
    this.#stagedChunks += 1;
    crashPoint('backup.chunk-staged');
  }

  #beginEpoch(epoch: Epoch): void {
    this.#staged = emptyEpoch();
    this.#stagedEpoch = epoch;
    this.#stagedChunks = 0;
  }

  async #onCommit(frame: Frame, standby: Standby): Promise<void> {
    const { image } = standby;
    const commit = parseCommit(frame.head);
    if (commit.term !== this.#term)
      throw new RomulusError('TERM_STALE', `a commit of term ${commit.term} came in term ${this.#term}`);
    if (commit.epoch !== image.committed + 1 || commit.previous !== image.committed) {
      throw new RomulusError(
        'WIRE_ORDER',
        `epoch ${commit.epoch} after ${commit.previous} came, but ${image.committed} is committed here`,
      );
    }
    if (commit.epoch !== this.#stagedEpoch) this.#beginEpoch(commit.epoch);
    if (commit.chunks !== this.#stagedChunks) {
      throw new RomulusError(
        'WIRE_ORDER',
        `epoch ${commit.epoch} names ${commit.chunks} chunks, ${this.#stagedChunks} came`,
      );
    }
    await standby.ready();
    image.journal.append(commit.epoch, frame.message);
    crashPoint('backup.before-commit');
    image.commit(commit.epoch);
    crashPoint('backup.committed');
    standby.committed(commit.epoch);
    const ack: Ack = { term: this.#term, epoch: commit.epoch, promiseMs: this.#options.promiseMs };
    // A primary that has gone gets no ack; what it sent before it went is still handled.
    const acked = this.#link.send(Kind.ack, ack).catch(() => {});
    crashPoint('backup.acked');
    const staged = this.#staged;
    this.#beginEpoch(0);
    this.#apply(standby, () => image.apply(staged, commit));
    await acked;
    if (this.#unapplied > MAX_UNAPPLIED_EPOCHS) await this.#applying;
  }

  /** One epoch after the other; a failure ends the session, since nothing later can make the image right again. */
  #apply(standby: Standby, apply: () => Promise<void>): void {
    this.#unapplied += 1;
    this.#applying = this.#applying.then(async () => {
      try {
        await apply();
      } catch (thrown) {
        const error = asRomulusError(thrown);
        standby.degraded(error);
        this.#link.fail(error);
      } finally {
        this.#unapplied -= 1;
      }
    });
  }

  #onClose(error: RomulusError | undefined): void {
    clearTimeout(this.#helloTimer);
    this.#standby?.image.journal.abort();
    const lost = error ?? new RomulusError('PEER_UNREACHABLE', 'the primary closed the connection');
    this.#standby?.degraded(lost);
  }
}
