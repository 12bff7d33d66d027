/** Route table of the local API: method and path with :parameters to a handler; JSON answers, or server-sent events. */

import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { asRomulusError, RomulusError } from '../errors.ts';
import { sendError, sendJson, sendText, TextAnswer } from './answer.ts';
import { readJsonBody } from './body.ts';
import { sendEvents } from './sse.ts';

export interface ApiRequest {
  /** Values of the path's :parameters, decoded. */
  params: Record<string, string>;
  query: URLSearchParams;
  /** Parsed JSON of a POST; an empty body is {}. Check it before use. */
  body: unknown;
  /** Aborted when the client has gone; handlers of long answers stop at it. */
  signal: AbortSignal;
}

/** Returns a JSON value, a TextAnswer, or an async iterable, each value of which becomes one server-sent event. */
export type ApiHandler = (request: ApiRequest) => unknown;

/** Keys are like "GET /v1/vms/:vm". */
export type Routes = Record<string, ApiHandler>;

/** A listener for node:http's createServer; everything thrown is answered as error JSON with a status. */
export function apiListener(routes: Routes): RequestListener {
  const table = Object.entries(routes).map(([key, handler]) => ({ ...compile(key), handler }));

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://agent');
    const found = table.flatMap((route) => {
      const match = route.method === request.method ? route.pattern.exec(url.pathname) : null;
      return match ? [{ route, params: decoded(match.groups ?? {}) }] : [];
    })[0];
    if (!found) {
      throw new RomulusError('API_UNKNOWN', `this agent has no ${request.method} ${url.pathname}`, {
        hint: 'romulus status --json shows the version of the agent; restart it if it is older than this command',
      });
    }
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const body = request.method === 'POST' ? await readJsonBody(request) : undefined;
    const value = await found.route.handler({
      params: found.params,
      query: url.searchParams,
      body,
      signal: gone.signal,
    });
    if (value instanceof TextAnswer) sendText(response, value);
    else if (isAsyncIterable(value)) await sendEvents(response, value, gone.signal);
    else sendJson(response, 200, value);
  }

  return (request, response) => {
    answer(request, response).catch((thrown: unknown) => sendError(response, asRomulusError(thrown)));
  };
}

function compile(key: string): { method: string; pattern: RegExp } {
  const [method = '', path = ''] = key.split(' ');
  const source = path
    .replace(/[.]/g, '\\.')
    .replace(/:([a-z]\w*)/gi, (_, name: string) => `(?<${name}>[^/]+)`);
  return { method, pattern: new RegExp(`^${source}$`) };
}

function decoded(groups: Record<string, string>): Record<string, string> {
  try {
    return Object.fromEntries(Object.entries(groups).map(([key, value]) => [key, decodeURIComponent(value)]));
  } catch (cause) {
    throw new RomulusError('USAGE', 'the path is not valid percent-encoding', { cause });
  }
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
}
