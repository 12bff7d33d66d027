/** The receiving half of a replication connection: stages, checks, commits and acknowledges epochs, then applies them. */

import type { WebSocket } from 'ws';
import { crashPoint } from '../shared/crash-point.ts';
import { asRomulusError, RomulusError } from '../shared/errors.ts';
import { MAX_PAYLOAD_BYTES } from '../shared/limits.ts';
import type { Epoch } from '../shared/vm.ts';
import { connectingLimits } from '../shared/wire/connecting.ts';
import { type Frame, framed, PROTOCOL_VERSION } from '../shared/wire/frame.ts';
import { LINK_PATIENCE, Link } from '../shared/wire/link.ts';
import {
  type Ack,
  type Beat,
  type Hello,
  Kind,
  parseBeat,
  parseChunk,
  parseCommit,
  parseHandOver,
  parseHello,
  parseRenew,
  parseSync,
  Region,
  type Sync,
  type Welcome,
} from '../shared/wire/messages.ts';
import { emptyEpoch, type StagedEpoch, type StandbyImage } from './image/standby-image.ts';
import type { Standby } from './standby.ts';

/** Committed epochs that may wait to be applied; beyond, acknowledgements wait and the primary's window closes. */
const MAX_UNAPPLIED_EPOCHS = 16;
/** Chunks decompressed, checked and written at once: as many as there are threads for it. */
const MAX_CHECKED_AT_ONCE = 4;
/** At most so often a chunk counts as a sign of life. */
const CHUNK_HEARD_MS = 20;

export interface ReceiverOptions {
  node: string;
  /** Silence that ends a connection whose VM says nothing of it yet. */
  silenceMs: number;
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
  /** Chunks of the staged epoch being decompressed and checked. */
  readonly #checking = new Set<Promise<void>>();
  #unapplied = 0;
  #chunkHeardMs = 0;
  #applying: Promise<void> = Promise.resolve();
  receivedBytes = 0;

  constructor(socket: WebSocket, options: ReceiverOptions) {
    this.#options = options;
    const { helloMs } = connectingLimits(options.silenceMs);
    this.#link = new Link(socket, Math.max(options.silenceMs, helloMs), {
      onFrame: (frame) => this.#onFrame(frame),
      onBeat: (head) => this.#onBeat(head),
      onClose: (error, peerError) => this.#onClose(error ?? (peerError && RomulusError.fromJSON(peerError))),
    });
    this.#helloTimer = setTimeout(
      () => this.#link.fail(new RomulusError('WIRE_ORDER', 'no hello came in time')),
      helloMs,
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

  ack(ack: Ack): void {
    // A primary that has gone gets no ack; what it sent before it went is still handled.
    this.#link.send(Kind.ack, ack).catch(() => {});
    crashPoint('backup.acked');
  }

  answer(beat: Beat): void {
    this.#link.send(Kind.answer, beat).catch(() => {});
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
      case Kind.copied:
        return this.#link.send(Kind.ready, {}); // frames are handled one after the other, pre-copy until it is applied
      case Kind.chunk:
        return this.#onChunk(frame, this.#standby.image);
      case Kind.commit:
        return this.#onCommit(frame, this.#standby);
      case Kind.renew:
        return this.#standby.renew(this.#ofTerm(parseRenew(frame.head)));
      case Kind.handOver:
        return this.#standby.handedOver(parseHandOver(frame.head));
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

  #onBeat(head: Record<string, unknown>): void {
    // Before its welcome a primary's beats only keep the connection.
    if (this.#standby === undefined || head.term === undefined) return;
    this.#standby.beat(this.#ofTerm(parseBeat(head, 'beat')));
  }

  /** One session, one term. */
  #ofTerm<T extends { term: number }>(message: T): T {
    if (message.term === this.#term) return message;
    throw new RomulusError('TERM_STALE', `a message of term ${message.term} came in term ${this.#term}`);
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
      this.#link.fail(thrown, (thrown as { peerTerm?: number }).peerTerm ?? standby?.term);
      return;
    }
    this.#standby = standby;
    this.#term = hello.term;
    this.#link.silenceMs = hello.protection.silenceMs;
    this.#link.patience = LINK_PATIENCE;
    const { lineage, committed } = standby.image;
    const welcome: Welcome = {
      protocol: PROTOCOL_VERSION,
      node: this.#options.node,
      term: hello.term,
      lineage,
      committed,
      copies: true,
    };
    await this.#link.send(Kind.welcome, welcome);
  }

  async #onSync(sync: Sync, standby: Standby): Promise<void> {
    await this.settled();
    this.#beginEpoch(0); // chunks of an epoch that broke off belong to the lineage that ends
    const disk = await standby.beginSync(sync, this.#term);
    if (disk === undefined) return this.#link.send(Kind.ready, {});
    await this.#link.send(Kind.ready, { disk: disk.answer }, framed(disk.dirtyBits));
  }

  async #onChunk(frame: Frame, image: StandbyImage): Promise<void> {
    const chunk = parseChunk(frame.head, MAX_PAYLOAD_BYTES);
    this.#hear();
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
    const written = image.journal.append(chunk.epoch, frame.message);
    written.catch(() => {}); // stage() tells
    this.#stagedChunks += 1;
    const checked = image.stage(this.#staged, chunk, frame.payload, written);
    this.#checking.add(checked);
    checked.then(
      () => this.#checking.delete(checked),
      (thrown) => this.#link.fail(thrown), // and the commit, which waits for it, fails too
    );
    // Disk payloads keep their order; of memory a few are decompressed and checked at once, beside the journal.
    if (chunk.region !== Region.ram) await checked;
    else if (this.#checking.size >= MAX_CHECKED_AT_ONCE) await Promise.race(this.#checking);
    crashPoint('backup.chunk-staged');
  }

  /** Chunks fill the link, and a beat may come late behind them. */
  #hear(): void {
    const now = performance.now();
    if (now - this.#chunkHeardMs < CHUNK_HEARD_MS) return;
    this.#chunkHeardMs = now;
    this.#standby?.heard(this.#term);
  }

  #beginEpoch(epoch: Epoch): void {
    this.#staged = emptyEpoch();
    this.#stagedEpoch = epoch;
    this.#stagedChunks = 0;
  }

  async #onCommit(frame: Frame, standby: Standby): Promise<void> {
    const { image } = standby;
    const commit = this.#ofTerm(parseCommit(frame.head));
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
    await Promise.all(this.#checking);
    image.checkWhole(this.#staged);
    await standby.ready();
    if (this.#link.closed) return; // the journal was closed meanwhile, or is the promoted guest's past
    await image.journal.append(commit.epoch, frame.message);
    if (this.#link.closed) return;
    crashPoint('backup.before-commit');
    image.commit(commit.epoch);
    crashPoint('backup.committed');
    standby.committed(commit.term, commit.epoch, commit.sentMs);
    const staged = this.#staged;
    this.#beginEpoch(0);
    this.#apply(standby, () => image.apply(staged, commit));
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
    this.#standby?.lost(this, lost);
  }
}
