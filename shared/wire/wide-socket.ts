/** An accepted connection read so that messages lie whole in memory that is used again: plain TCP straight to there, TLS by one copy. */

import { Socket, type SocketConstructorOpts } from 'node:net';
import { TLSSocket } from 'node:tls';
import { WholeFrames } from './whole-frames.ts';

/** Node's own name for the operating system's end of a socket, which its types leave out. */
interface Handle {
  readStop(): number;
  reading: boolean;
}

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
 * connection goes on. TLS decrypts into buffers of its own, which are gathered here. Call it between the request for an
 * upgrade and its answer. Messages above `maxMessageBytes` come in pieces as ever.
 */
export function widen(accepted: Socket, head: Buffer, maxMessageBytes: number): WideSocket {
  const frames = new WholeFrames(maxMessageBytes);
  const begun = Buffer.concat(frames.add(head));
  const allow = (bytes: number) => {
    frames.maxMessageBytes = bytes;
  };
  const { _handle: handle } = accepted as unknown as { _handle?: Handle | null };
  if (accepted instanceof TLSSocket || !handle) {
    gather(accepted, frames);
    return { socket: accepted, head: begun, allow };
  }
  return { socket: takeOver(accepted, handle, frames), head: begun, allow };
}

function takeOver(accepted: Socket, handle: Handle, frames: WholeFrames): Socket {
  handle.readStop();
  handle.reading = false;
  (accepted as unknown as { _handle: null })._handle = null;
  accepted.destroy();
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
  return socket;
}

/** What is read goes through `frames` before it enters the stream. */
function gather(socket: Socket, frames: WholeFrames): void {
  const push = socket.push.bind(socket);
  socket.push = (chunk: Buffer | null): boolean => {
    if (chunk === null) return push(null);
    let more = true;
    for (const whole of frames.add(chunk)) more = push(whole);
    return more;
  };
}
