/** The sending half of a replication connection: hello and its answer, chunks and commits out, acknowledgements in. */

import type { Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import type { WebSocket } from 'ws';
import { engine } from '../native/index.ts';
import type { Endpoint } from '../shared/config/endpoint.ts';
import { RomulusError } from '../shared/errors.ts';
import type { Epoch } from '../shared/vm.ts';
import type { CodecChoice } from '../shared/wire/codec-choice.ts';
import type { PackedPayload } from '../shared/wire/compression.ts';
import { connectingLimits } from '../shared/wire/connecting.ts';
import { type DiskAnswer, type DiskOffer, parseDiskAnswer } from '../shared/wire/disk-messages.ts';
import { type Frame, PROTOCOL_VERSION } from '../shared/wire/frame.ts';
import { LINK_PATIENCE, Link, type LinkHandlers } from '../shared/wire/link.ts';
import {
  type Ack,
  type Beat,
  type Chunk,
  type Commit,
  type HandOver,
  type Hello,
  Kind,
  parseAck,
  parseBeat,
  parseWelcome,
  type Renew,
  type Welcome,
} from '../shared/wire/messages.ts';
import { dial } from '../shared/wire/socket.ts';

export interface SessionOptions {
  address: Endpoint;
  /** Node name the peer's welcome must carry. */
  peer: string;
  tls?: ConnectionOptions;
  /** Silence after which the backup counts as lost. */
  silenceMs: number;
  hello: Omit<Hello, 'protocol'>;
  /** What is known of this link and of compression on it; outlives the session. */
  codecs: CodecChoice;
}

export interface SessionEvents {
  onAck(ack: Ack): void;
  /** The backup stands by: it answered something sent when this node's clock stood at `sentMs`. */
  onAnswer(answer: Beat): void;
  /** Once, when the connection is gone; TERM_STALE means that this side must fence itself. */
  onClose(error: RomulusError, peerTerm: number | undefined): void;
}

export class Session {
  readonly welcome: Welcome;
  readonly codecs: CodecChoice;
  /** This node's clock just before the hello was sent. */
  readonly helloSentMs: number;
  readonly #link: Link;
  #onReady: ((frame?: Frame) => void) | undefined;

  /** Dials, says hello and waits for the welcome. Throws PEER_UNREACHABLE, TLS_INVALID, or what the backup answered. */
  static async open(options: SessionOptions, events: SessionEvents): Promise<Session> {
    const limits = connectingLimits(options.silenceMs);
    return dial(
      options.address,
      options.tls,
      (socket, stream) => Session.#greet(socket, stream, options, events, limits.welcomeMs),
      limits,
    );
  }

  static #greet(
    socket: WebSocket,
    stream: Socket,
    options: SessionOptions,
    events: SessionEvents,
    welcomeMs: number,
  ): Promise<Session> {
    const helloSentMs = engine().bootTimeMs();
    const { term } = options.hello;
    return new Promise((resolve, reject) => {
      let session: Session | undefined;
      const timer = setTimeout(
        () => link.fail(new RomulusError('PEER_UNREACHABLE', 'the backup did not answer the hello')),
        welcomeMs,
      );
      const handlers: LinkHandlers = {
        onFrame(frame) {
          if (session !== undefined) return session.#onFrame(frame, events);
          clearTimeout(timer);
          const welcome = expectWelcome(frame, options.peer);
          link.silenceMs = options.silenceMs;
          link.patience = LINK_PATIENCE;
          session = new Session(link, welcome, options.codecs, helloSentMs);
          resolve(session);
        },
        beat: () => (session === undefined ? {} : ({ term, sentMs: engine().bootTimeMs() } satisfies Beat)),
        onClose(error, peerError) {
          clearTimeout(timer);
          const reason = closeReason(error, peerError);
          if (session === undefined) reject(Object.assign(reason, { peerTerm: peerError?.term }));
          else {
            session.#onReady?.();
            events.onClose(reason, peerError?.term);
          }
        },
      };
      const link = new Link(socket, Math.max(options.silenceMs, welcomeMs), handlers, stream);
      link
        .send(Kind.hello, {
          protocol: [PROTOCOL_VERSION, PROTOCOL_VERSION],
          ...options.hello,
        } satisfies Hello)
        .catch(() => {}); // a hello that cannot be sent ends the link, and with it this promise
    });
  }

  private constructor(link: Link, welcome: Welcome, codecs: CodecChoice, helloSentMs: number) {
    this.codecs = codecs;
    this.helloSentMs = helloSentMs;
    this.#link = link;
    this.welcome = welcome;
  }

  get open(): boolean {
    return !this.#link.closed;
  }

  get silentMs(): number {
    return this.#link.silentMs;
  }

  get sentBytes(): number {
    return this.#link.sentBytes;
  }

  /**
   * Asks for a new, empty image; resolves when the backup is ready for pre-copy. With a disk offered, gives what the
   * backup says of its own: its pair, and its dirty map.
   */
  async beginSync(lineage: string, disk?: DiskOffer): Promise<{ disk?: DiskAnswer; dirtyBits: Buffer }> {
    const frame = await this.#untilReady(Kind.sync, { lineage, ...(disk && { disk }) });
    const answer = parseDiskAnswer(frame.head.disk);
    return { ...(answer && { disk: answer }), dirtyBits: Buffer.from(frame.payload) };
  }

  /** Resolves when everything sent so far of the initial copy is in the image: nothing is on its way before what comes next. */
  async copied(): Promise<void> {
    if (!this.welcome.copies) return; // a backup of the release before knows neither
    await this.#untilReady(Kind.copied, {});
  }

  async #untilReady(kind: number, head: object): Promise<Frame> {
    const ready = new Promise<Frame | undefined>((resolve) => {
      this.#onReady = resolve;
    });
    await this.#link.send(kind, head);
    const frame = await ready;
    this.#onReady = undefined;
    if (this.#link.closed || frame === undefined)
      throw new RomulusError('PEER_UNREACHABLE', 'connection lost while the backup made its image');
    return frame;
  }

  /** Resolves when the kernel took the chunk; until then its buffer must not change. */
  async sendChunk(epoch: number, region: Chunk['region'], payload: PackedPayload): Promise<void> {
    const head: Chunk = { epoch, region, codec: payload.codec, rawBytes: payload.rawBytes };
    this.codecs.link.queued(performance.now());
    try {
      await this.#link.send(Kind.chunk, head, payload);
    } finally {
      this.codecs.link.taken(payload.bytes, performance.now());
    }
  }

  sendCommit(commit: Commit): Promise<void> {
    return this.#link.send(Kind.commit, commit);
  }

  /** Asks for a new promise on epoch `epoch`; the answer is an ack. */
  renew(term: number, epoch: Epoch): Promise<void> {
    return this.#link.send(Kind.renew, { term, epoch, sentMs: engine().bootTimeMs() } satisfies Renew);
  }

  /** Nothing leaves here any more: the backup owns the VM in `term`. */
  handOver(term: number, epoch: Epoch): Promise<void> {
    return this.#link.send(Kind.handOver, { term, epoch } satisfies HandOver);
  }

  /** Ends protection: the backup drops its standby. */
  async bye(): Promise<void> {
    await this.#link.send(Kind.bye, {});
    this.#link.close();
  }

  close(): void {
    this.#link.close();
  }

  #onFrame(frame: Frame, events: SessionEvents): void {
    if (frame.kind === Kind.ack) events.onAck(parseAck(frame.head));
    else if (frame.kind === Kind.answer) events.onAnswer(parseBeat(frame.head, 'answer'));
    else if (frame.kind === Kind.ready) this.#onReady?.(frame);
    else
      throw new RomulusError('WIRE_FRAME', `malformed frame: kind ${frame.kind} is not one a backup sends`);
  }
}

function expectWelcome(frame: Frame, peer: string): Welcome {
  if (frame.kind !== Kind.welcome)
    throw new RomulusError('WIRE_FRAME', 'the backup did not begin with a welcome');
  const welcome = parseWelcome(frame.head);
  if (welcome.protocol !== PROTOCOL_VERSION) {
    throw new RomulusError(
      'WIRE_VERSION',
      `the backup chose protocol ${welcome.protocol}, which was not offered`,
    );
  }
  if (welcome.node !== peer) {
    throw new RomulusError('PEER_UNKNOWN', `node ${welcome.node} answered where ${peer} was expected`, {
      hint: 'correct the address of this peer in agent.yaml',
    });
  }
  return welcome;
}

function closeReason(
  error: RomulusError | undefined,
  peerError: { code: string; message: string; hint?: string } | undefined,
): RomulusError {
  if (error !== undefined) return error;
  if (peerError === undefined)
    return new RomulusError('PEER_UNREACHABLE', 'the backup closed the connection');
  return RomulusError.fromJSON(peerError);
}
