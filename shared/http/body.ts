/** Reads the JSON body of a request, never more of it than the limit. */

import type { IncomingMessage } from 'node:http';
import { RomulusError } from '../errors.ts';
import { MAX_API_BODY_BYTES } from '../limits.ts';

/** {} when there is no body; USAGE when it is not JSON, WIRE_LIMIT beyond MAX_API_BODY_BYTES. */
export async function readJsonBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > MAX_API_BODY_BYTES) {
      throw new RomulusError('WIRE_LIMIT', `the request is larger than ${MAX_API_BODY_BYTES} bytes`);
    }
    chunks.push(chunk);
  }
  if (sizeBytes === 0) return {};
  // A web page can post a form to a loopback address without asking; it cannot claim this type.
  if (!request.headers['content-type']?.startsWith('application/json')) {
    throw new RomulusError('USAGE', 'the content type of a request must be application/json');
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch (cause) {
    throw new RomulusError('USAGE', 'the request is not valid JSON', { cause });
  }
}
