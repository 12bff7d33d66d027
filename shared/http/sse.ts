/** Server-sent events, both ways: an async iterable onto a response, and a response as an async iterable. */

import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { RomulusError } from '../errors.ts';
import { MAX_API_BODY_BYTES } from '../limits.ts';

/** Sent when nothing else is, so that both ends notice a dead connection. */
const KEEP_ALIVE_MS = 15_000;

/** Each value becomes one `data:` line of JSON. Waits for a slow reader; ends with the iterable or the signal. */
export async function sendEvents(
  response: ServerResponse,
  events: AsyncIterable<unknown>,
  signal: AbortSignal,
): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  response.flushHeaders();
  const keepAlive = setInterval(() => response.write(': alive\n\n'), KEEP_ALIVE_MS);
  const iterator = events[Symbol.asyncIterator]();
  // A client that goes away ends the wait for an event that may never come.
  const leave = () => {
    iterator.return?.().catch(() => undefined);
  };
  signal.addEventListener('abort', leave, { once: true });
  const gone = once(signal, 'abort').then(() => ({ done: true as const, value: undefined }));
  try {
    while (!signal.aborted) {
      const next = await Promise.race([iterator.next(), gone]);
      if (next.done) break;
      if (!response.write(`data: ${JSON.stringify(next.value)}\n\n`))
        await Promise.race([once(response, 'drain'), gone]);
    }
  } finally {
    clearInterval(keepAlive);
    signal.removeEventListener('abort', leave);
    response.end();
  }
}

/** The JSON values of an event stream; comments and unknown fields are passed over. */
export async function* readEvents(stream: AsyncIterable<Buffer>): AsyncGenerator<unknown> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of stream) {
    rest += decoder.decode(chunk, { stream: true });
    const blocks = rest.split('\n\n');
    rest = blocks.pop() ?? '';
    if (rest.length > MAX_API_BODY_BYTES) {
      throw new RomulusError('WIRE_LIMIT', `an event is larger than ${MAX_API_BODY_BYTES} bytes`);
    }
    for (const block of blocks) {
      const data = block
        .split('\n')
        .filter((line) => line.startsWith('data:'))
        .map((line) => line.slice(5).trimStart())
        .join('\n');
      if (data !== '') yield JSON.parse(data);
    }
  }
}
