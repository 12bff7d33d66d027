/** Answers of the local API: JSON, plain text, and errors with the status that fits their code. */

import type { ServerResponse } from 'node:http';
import { ExitCode, type RomulusError } from '../errors.ts';
import type { ApiErrorBody } from '../status.ts';

/** Anything that is not JSON: metrics, a page. */
export class TextAnswer {
  readonly text: string | Uint8Array;
  readonly contentType: string;

  constructor(text: string | Uint8Array, contentType = 'text/plain; charset=utf-8') {
    this.text = text;
    this.contentType = contentType;
  }
}

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const body = JSON.stringify(value ?? null);
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
}

export function sendText(response: ServerResponse, answer: TextAnswer): void {
  response.writeHead(200, {
    'content-type': answer.contentType,
    'content-length': Buffer.byteLength(answer.text),
  });
  response.end(answer.text);
}

export function sendError(response: ServerResponse, error: RomulusError): void {
  if (response.headersSent || response.destroyed) {
    // Half an answer cannot be taken back; cutting it off tells the client that it is not whole.
    response.destroy();
    return;
  }
  // The rest of a refused request is not read, so the connection cannot be used again.
  response.setHeader('connection', 'close');
  const body: ApiErrorBody = { error: error.toJSON() };
  sendJson(response, statusOf(error), body);
}

/** The HTTP status for an error's code. */
export function statusOf(error: RomulusError): number {
  if (error.code === 'API_UNKNOWN') return 404;
  if (error.code === 'WIRE_LIMIT') return 413;
  if (error.code === 'VM_BUSY') return 409;
  if (error.code === 'PEER_UNREACHABLE' || error.code === 'QUEUE_UNREACHABLE') return 502;
  if (error.exitCode === ExitCode.usage) return 400;
  if (error.exitCode === ExitCode.notFound) return 404;
  if (error.exitCode === ExitCode.refused) return 409;
  if (error.exitCode === ExitCode.degraded) return 503;
  return 500;
}
