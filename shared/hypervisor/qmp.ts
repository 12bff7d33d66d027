/** QMP client: QEMU's line-wise JSON protocol over a unix socket, replies matched by id, events handed to listeners. */

import { EventEmitter } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { RomulusError } from '../errors.ts';

/** Longest line taken from QEMU; its longest honest answer (query-qmp-schema) is about 200 KiB. */
export const MAX_QMP_LINE_BYTES = 1024 * 1024;
const DEFAULT_TIMEOUT_MS = 5000;
const CONNECT_RETRY_MS = 5;

export interface QmpEvent {
  event: string;
  data: Record<string, unknown>;
}

interface Pending {
  command: string;
  resolve(value: unknown): void;
  reject(error: RomulusError): void;
  timer: NodeJS.Timeout;
}

interface Message {
  QMP?: unknown;
  id?: number;
  return?: unknown;
  error?: { class: string; desc: string };
  event?: string;
  data?: Record<string, unknown>;
}

/** Emits 'event' (QmpEvent) for each of QEMU's events and 'close' (RomulusError) once, when the connection ends. */
export class QmpClient extends EventEmitter<{ event: [QmpEvent]; close: [RomulusError] }> {
  readonly #socket: Socket;
  readonly #path: string;
  readonly #pending = new Map<number, Pending>();
  #chunks: Buffer[] = [];
  #chunkBytes = 0;
  #lastId = 0;
  #greeted: (() => void) | undefined;
  #ended: RomulusError | undefined;

  private constructor(path: string, socket: Socket) {
    super();
    this.#path = path;
    this.#socket = socket;
    socket.on('data', (chunk) => this.#receive(chunk));
    socket.on('error', (cause) => this.#end(protocolError(`${path}: ${cause.message}`, cause)));
    socket.on('close', () => this.#end(protocolError(`${path}: QEMU closed the connection`)));
  }

  /**
   * Connects and leaves negotiation mode. A socket not there yet is tried again until `timeoutMs`; a monitor serves
   * one client at a time, so a greeting that does not come means that another client holds it.
   */
  static async connect(
    path: string,
    { timeoutMs = DEFAULT_TIMEOUT_MS, signal }: ConnectOptions = {},
  ): Promise<QmpClient> {
    const deadline = performance.now() + timeoutMs;
    const client = new QmpClient(path, await connectSocket(path, deadline, signal));
    try {
      await client.#greeting(deadline - performance.now());
      await client.execute('qmp_capabilities');
    } catch (error) {
      client.close();
      throw error;
    }
    return client;
  }

  /** Runs one command. Rejects with HV_PROTOCOL on an error reply, a time-out or the end of the connection. */
  execute<T = unknown>(command: string, args?: object, timeoutMs = DEFAULT_TIMEOUT_MS): Promise<T> {
    if (this.#ended) return Promise.reject(this.#ended);
    const id = ++this.#lastId;
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(protocolError(`${this.#path}: no reply to ${command} within ${timeoutMs} ms`));
      }, timeoutMs);
      this.#pending.set(id, { command, resolve: resolve as (value: unknown) => void, reject, timer });
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    });
  }

  /** Resolves with the first event the predicate accepts; rejects when the connection ends or time is up. */
  waitFor(accept: (event: QmpEvent) => boolean, timeoutMs = DEFAULT_TIMEOUT_MS): Promise<QmpEvent> {
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        clearTimeout(timer);
        this.off('event', onEvent);
        this.off('close', onClose);
        act();
      };
      const onEvent = (event: QmpEvent) => accept(event) && settle(() => resolve(event));
      const onClose = (error: RomulusError) => settle(() => reject(error));
      const timer = setTimeout(
        () => settle(() => reject(protocolError(`${this.#path}: no event within ${timeoutMs} ms`))),
        timeoutMs,
      );
      this.on('event', onEvent);
      this.on('close', onClose);
      if (this.#ended) onClose(this.#ended);
    });
  }

  get closed(): boolean {
    return this.#ended !== undefined;
  }

  close(): void {
    this.#end(protocolError(`${this.#path}: connection closed`));
    this.#socket.destroy();
  }

  #greeting(timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        const hint = `end the other client of ${this.#path} (lsof ${this.#path})`;
        reject(
          new RomulusError('HV_PROTOCOL', `${this.#path}: no QMP greeting; is another client connected?`, {
            hint,
          }),
        );
      }, timeoutMs);
      this.once('close', (error) => {
        clearTimeout(timer);
        reject(error);
      });
      this.#greeted = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #receive(chunk: Buffer): void {
    let rest = chunk;
    for (let newline = rest.indexOf(10); newline >= 0; newline = rest.indexOf(10)) {
      this.#chunks.push(rest.subarray(0, newline));
      const line = Buffer.concat(this.#chunks).toString('utf8');
      this.#chunks = [];
      this.#chunkBytes = 0;
      rest = rest.subarray(newline + 1);
      if (line.trim() !== '') this.#takeLine(line);
    }
    this.#chunkBytes += rest.length;
    if (this.#chunkBytes > MAX_QMP_LINE_BYTES) {
      this.#fail(`a line is longer than ${MAX_QMP_LINE_BYTES} bytes`);
    } else if (rest.length > 0) this.#chunks.push(rest);
  }

  #takeLine(line: string): void {
    const message = parseMessage(line);
    if (message === undefined) this.#fail(`not a QMP message: ${line.slice(0, 80)}`);
    else if (message.event !== undefined)
      this.emit('event', { event: message.event, data: message.data ?? {} });
    else if (message.QMP !== undefined) this.#greeted?.();
    else this.#takeReply(message);
  }

  #takeReply(message: Message): void {
    const pending = this.#pending.get(message.id ?? 0);
    if (pending === undefined) return; // its time was up, or it is no reply of ours
    this.#pending.delete(message.id ?? 0);
    clearTimeout(pending.timer);
    if (message.error === undefined) pending.resolve(message.return);
    else pending.reject(protocolError(`${pending.command}: ${message.error.desc}`));
  }

  #fail(why: string): void {
    this.#end(protocolError(`${this.#path}: ${why}`));
    this.#socket.destroy();
  }

  #end(error: RomulusError): void {
    if (this.#ended) return;
    this.#ended = error;
    for (const pending of this.#pending.values()) {
      clearTimeout(pending.timer);
      pending.reject(error);
    }
    this.#pending.clear();
    this.emit('close', error);
  }
}

function parseMessage(line: string): Message | undefined {
  try {
    const message: unknown = JSON.parse(line);
    return typeof message === 'object' && message !== null ? (message as Message) : undefined;
  } catch {
    return undefined;
  }
}

export interface ConnectOptions {
  timeoutMs?: number;
  /** Ends the attempts early, say because the QEMU being started has exited. */
  signal?: AbortSignal;
}

function protocolError(message: string, cause?: unknown): RomulusError {
  return new RomulusError('HV_PROTOCOL', message, {
    cause,
    hint: 'romulus status; the QEMU log lies beside its socket',
  });
}

async function connectSocket(
  path: string,
  deadline: number,
  signal: AbortSignal | undefined,
): Promise<Socket> {
  for (;;) {
    try {
      return await connectOnce(path);
    } catch (cause) {
      if (signal?.aborted || performance.now() >= deadline) {
        throw protocolError(`cannot reach QEMU at ${path}: ${(cause as Error).message}`, cause);
      }
    }
    await delay(CONNECT_RETRY_MS);
  }
}

function connectOnce(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}
