/** An accepted TCP connection read in large pieces, each straight to where its message will lie. */

import { Socket, type SocketConstructorOpts } from 'node:net';
import { TLSSocket } from 'node:tls';
import { WholeFrames } from './whole-frames.ts';

/** Node's own name for the operating system's end of a socket, which its types leave out. */
interface Handled {
  _handle?: { readStop(): number; reading: boolean } | null;
}

const NOTHING = Buffer.alloc(0);
/** More does not come unless somebody speaks before he was answered. */
const MAX_HEAD_BYTES = 16 * 1024;

export interface WideSocket {
  socket: Socket;
  /** What of the bytes that came with the request for an upgrade is to be taken for the stream's beginning. */
  head: Buffer;
  /** From now on messages of so many bytes are received whole. */
  allow(maxMessageBytes: number): void;
}

/**
 * Node reads accepted connections 64 KiB at a time, into a new buffer each; only a socket of one's own making says where to
 * read to (`onread`). So one is made around the handle of `accepted`, which is destroyed, and says 'close', while the
 * connection goes on. Call it between the request for an upgrade and its answer. Messages above `maxMessageBytes` come in
 * pieces as ever. TLS decrypts into buffers of its own: such a connection stays as it is.
 */
export function widen(accepted: Socket, head: Buffer, maxMessageBytes: number): WideSocket {
  const from = accepted as unknown as Handled;
  const handle = from._handle;
  if (accepted instanceof TLSSocket || !handle || head.length > MAX_HEAD_BYTES)
    return { socket: accepted, head, allow: () => {} };
  handle.readStop();
  handle.reading = false;
  from._handle = null;
  accepted.destroy();
  const frames = new WholeFrames(maxMessageBytes);
  const begun = frames.add(head);
  const options: SocketConstructorOpts & { handle: unknown; onread: object } = {
    handle,
    onread: {
      buffer: () => frames.room(),
      callback: (bytes: number): boolean => {
        const whole = frames.took(bytes);
        return whole === undefined || socket.push(whole);
      },
    },
  };
  const socket = new Socket(options);
  return {
    socket,
    head: begun ?? NOTHING,
    allow: (bytes) => {
      frames.maxMessageBytes = bytes;
    },
  };
}
