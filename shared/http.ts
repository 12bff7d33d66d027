/** Plumbing of the local API on node:http: routes, JSON, server-sent events, the unix socket. */

export { TextAnswer } from './http/answer.ts';
export { type ApiHandler, type ApiRequest, apiListener, type Routes } from './http/routes.ts';
export { type ApiServer, serveApi } from './http/serve.ts';
export { readEvents } from './http/sse.ts';
