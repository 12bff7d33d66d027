/** One replication connection as both sides see it: frames in order, one handler at a time, silence noticed. */

import type { Writable } from 'node:stream';
import type { WebSocket } from 'ws';
import { fairTick } from '../control/fair-tick.ts';
import { asRomulusError, RomulusError } from '../errors.ts';
import { decodeFrame, encodeFrame, type Frame, type FramedPayload, KIND_OFFSET } from './frame.ts';
import { Kind, parseError, type WireError } from './messages.ts';

/** Sent at least this often in each direction, so that silence means something. */
const MAX_BEAT_INTERVAL_MS = 100;
const MIN_BEAT_INTERVAL_MS = 20;
/** Of a connection whose VM has an authority on both sides: silence is judged there, the connection only given up in the end. */
export const LINK_PATIENCE = 3;
/** Beats within the silence that counts as loss. */
const BEATS_PER_SILENCE = 8;
/** A shorter frame waits for others sent in the same turn; the peer may be at work on a longer one before those are made. */
const LONG_FRAME_BYTES = 64 * 1024;
/** Received and not yet handled bytes at which reading from the socket stops, so that TCP slows the sender. */
const MAX_QUEUED_BYTES = 8 * 1024 * 1024;

export interface LinkHandlers {
  /** Called for one frame at a time, in order; the next waits for the promise. A throw ends the link. */
  onFrame(frame: Frame): Promise<void> | void;
  /** What a beat of this side says; by default nothing but that the connection lives. */
  beat?(): object;
  /** Called for each beat as it arrives, before what arrived earlier is handled: a busy handler is not a silent peer. */
  onBeat?(head: Record<string, unknown>): void;
  /** Called exactly once. `error` is the peer's word, our own fault, or undefined for a plain end. */
  onClose(error: RomulusError | undefined, peerError: WireError | undefined): void;
}

export class Link {
  readonly #socket: WebSocket;
  readonly #stream: Writable | undefined;
  #corked = false;
  readonly #handlers: LinkHandlers;
  #silenceMs: number;
  /** The connection ends after so many silences: whoever takes the peer for lost says so himself, and sooner. */
  patience = 1;
  readonly #now: () => number;
  #sent = 0;
  #expected = 0;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #handling = false;
  #closed = false;
  /** The socket is gone; what came before is still being handled. */
  #hungUp = false;
  #lastHeardMs: number;
  #endBeats: () => void;
  sentBytes = 0;

  /** `stream` is what the socket writes to, where that is known: short frames sent in one turn then leave by one system call. */
  constructor(
    socket: WebSocket,
    silenceMs: number,
    handlers: LinkHandlers,
    stream?: Writable,
    now = () => performance.now(),
  ) {
    this.#socket = socket;
    this.#stream = stream;
    this.#handlers = handlers;
    this.#silenceMs = silenceMs;
    this.#now = now;
    this.#lastHeardMs = now();
    this.#endBeats = this.#startBeats();
    socket.on('message', (data, isBinary) => this.#onMessage(data as Buffer, isBinary));
    socket.on('close', () => this.#onSocketClose());
    socket.on('error', (cause) =>
      this.#finish(
        new RomulusError('PEER_UNREACHABLE', `connection lost: ${cause.message}`, { cause }),
        undefined,
      ),
    );
  }

  /** Silence after which the peer counts as lost; beats follow it. */
  get silenceMs(): number {
    return this.#silenceMs;
  }

  set silenceMs(silenceMs: number) {
    this.#silenceMs = silenceMs;
    this.#endBeats();
    if (!this.#closed) this.#endBeats = this.#startBeats();
  }

  get closed(): boolean {
    return this.#closed || this.#hungUp;
  }

  /** Milliseconds since anything came from the peer. */
  get silentMs(): number {
    return this.#now() - this.#lastHeardMs;
  }

  /** Bytes accepted by send() that the kernel has not taken yet. */
  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  /** Resolves when the kernel has taken the frame; a payload's buffer must stay as it is until then. */
  send(kind: number, head: object, payload?: FramedPayload): Promise<void> {
    if (this.closed) return Promise.reject(new RomulusError('PEER_UNREACHABLE', 'the connection is closed'));
    const frame = encodeFrame(kind, this.#sent++, head, payload);
    this.sentBytes += frame.length;
    if (frame.length < LONG_FRAME_BYTES) this.#cork();
    return new Promise((resolve, reject) => {
      this.#socket.send(frame, (error) => {
        if (error)
          reject(new RomulusError('PEER_UNREACHABLE', `connection lost: ${error.message}`, { cause: error }));
        else resolve();
      });
    });
  }

  #cork(): void {
    if (this.#stream === undefined || this.#corked) return;
    this.#corked = true;
    this.#stream.cork();
    process.nextTick(() => {
      this.#corked = false;
      this.#stream?.uncork();
    });
  }

  /** Tells the peer why, then ends the connection. */
  fail(thrown: unknown, term?: number): void {
    if (this.#closed) return;
    const error = asRomulusError(thrown);
    const head: WireError = { ...error.toJSON(), ...(term === undefined ? {} : { term }) };
    // The end of the connection is the outcome either way; an error that cannot be sent adds nothing.
    this.send(Kind.error, head).catch(() => {});
    this.#socket.close(1002);
    this.#finish(error, undefined);
  }

  close(): void {
    this.#socket.close(1000);
    this.#finish(undefined, undefined);
  }

  #startBeats(): () => void {
    const everyMs = this.#silenceMs / BEATS_PER_SILENCE;
    const intervalMs = Math.min(MAX_BEAT_INTERVAL_MS, Math.max(MIN_BEAT_INTERVAL_MS, everyMs));
    return fairTick(intervalMs, () => this.#sendBeat());
  }

  #sendBeat(): void {
    if (this.#hungUp) return;
    // While this side reads nothing, having enough to handle, nothing can be heard.
    if (!this.#socket.isPaused && this.silentMs > this.silenceMs * this.patience) {
      const message = `nothing heard from the peer for ${Math.round(this.silentMs)} ms`;
      const error = new RomulusError('PEER_UNREACHABLE', message);
      this.#socket.terminate();
      this.#finish(error, undefined);
      return;
    }
    this.send(Kind.beat, this.#handlers.beat?.() ?? {}).catch(() => {}); // 'close' tells
  }

  #onMessage(data: Buffer, isBinary: boolean): void {
    if (this.#closed) return;
    this.#lastHeardMs = this.#now();
    if (!isBinary) {
      this.fail(new RomulusError('WIRE_FRAME', 'malformed frame: a text message'));
      return;
    }
    try {
      if (data[KIND_OFFSET] === Kind.beat) this.#handlers.onBeat?.(decodeFrame(data).head);
    } catch (thrown) {
      this.fail(thrown);
      return;
    }
    this.#queue.push(data);
    this.#queuedBytes += data.length;
    if (this.#queuedBytes > MAX_QUEUED_BYTES) this.#socket.pause();
    if (!this.#handling) void this.#drain();
  }

  #readAgain(): void {
    this.#lastHeardMs = this.#now();
    this.#socket.resume();
  }

  async #drain(): Promise<void> {
    this.#handling = true;
    try {
      for (let message = this.#queue.shift(); message !== undefined; message = this.#queue.shift()) {
        this.#queuedBytes -= message.length;
        if (this.#queuedBytes < MAX_QUEUED_BYTES / 2 && this.#socket.isPaused) this.#readAgain();
        const frame = this.#accept(message);
        if (frame === undefined) continue;
        const pending = this.#handlers.onFrame(frame);
        if (pending !== undefined) {
          await pending;
          // Our own work is not the peer's silence.
          this.#lastHeardMs = Math.max(this.#lastHeardMs, this.#now() - this.silenceMs / 2);
        }
        if (this.#closed) return;
      }
    } catch (thrown) {
      this.fail(thrown);
    } finally {
      this.#handling = false;
      if (this.#hungUp) this.#finish(undefined, undefined);
    }
  }

  /** A goodbye or a commit that came before the end counts, so the end waits for it. */
  #onSocketClose(): void {
    this.#hungUp = true;
    if (!this.#handling) this.#finish(undefined, undefined);
  }

  #accept(message: Buffer): Frame | undefined {
    const frame = decodeFrame(message);
    if (frame.sequence !== this.#expected >>> 0) {
      throw new RomulusError('WIRE_ORDER', `frame ${frame.sequence} came where ${this.#expected} was due`);
    }
    this.#expected += 1;
    if (frame.kind === Kind.beat) return undefined;
    if (frame.kind === Kind.error) {
      const peerError = parseError(frame.head);
      this.#socket.close(1000);
      this.#finish(undefined, peerError);
      return undefined;
    }
    return frame;
  }

  #finish(error: RomulusError | undefined, peerError: WireError | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#endBeats();
    this.#queue = [];
    this.#handlers.onClose(error, peerError);
  }
}
