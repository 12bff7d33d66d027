/** The local API: what each request means to this host. */

import { isAbsolute } from 'node:path';
import { RomulusError } from '../../shared/errors.ts';
import type { Routes } from '../../shared/http.ts';
import { MAX_WINDOW_EPOCHS } from '../../shared/limits.ts';
import type { AgentStatus, ExportRequest, FailoverRequest, ProtectRequest } from '../../shared/status.ts';
import type { TlsIdentity } from '../../shared/tls-identity.ts';
import { VERSION } from '../../shared/version.ts';
import { isName } from '../../shared/wire/messages.ts';
import type { EventLog } from './events.ts';
import type { Host } from './host.ts';
import { jobRoutes } from './job-routes.ts';
import type { Jobs } from './jobs.ts';
import type { AgentMetrics } from './metrics.ts';

export interface ApiParts {
  host: Host;
  events: EventLog;
  metrics: AgentMetrics;
  /** Without TLS there is none. */
  identity?: TlsIdentity;
  /** undefined where no queue is configured. */
  jobs(): Jobs | undefined;
}

/** Every answer waits for `ready`: until then this host does not know yet what it holds. */
export function agentRoutes(parts: ApiParts, ready: Promise<void>): Routes {
  const routes = table(parts);
  for (const [key, handler] of Object.entries(routes)) {
    routes[key] = async (request) => {
      await ready;
      return handler(request);
    };
  }
  return routes;
}

function table({ host, events, metrics, identity, jobs }: ApiParts): Routes {
  return {
    'GET /v1/status': (): AgentStatus => ({
      node: host.node,
      version: VERSION,
      vms: host.statuses(),
      ...(identity && { certificates: identity.certificates() }),
    }),
    'GET /metrics': () => metrics.text(),
    'GET /v1/vms/:vm': ({ params }) => host.status(params.vm ?? ''),
    'GET /v1/vms/:vm/verify': ({ params }) => host.verify(params.vm ?? ''),
    'POST /v1/protect': ({ body }) => host.protect(protectRequest(fields(body))),
    'POST /v1/unprotect': ({ body }) => host.unprotect(vmName(fields(body))),
    'POST /v1/failover': ({ body }) => host.failover(failoverRequest(fields(body))),
    'POST /v1/export': ({ body }) => host.exportCheckpoint(exportRequest(fields(body))),
    'POST /v1/confirm': ({ body }) => host.confirm(vmName(fields(body)), term(fields(body))),
    'POST /v1/switchover': ({ body }) => host.switchover(vmName(fields(body)), term(fields(body))),
    ...jobRoutes(host, jobs),
    'GET /v1/events': ({ signal }) => events.follow(signal),
  };
}

type Fields = Record<string, unknown>;

function fields(body: unknown): Fields {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw usage('the body must be a JSON object');
  return body as Fields;
}

function usage(message: string): RomulusError {
  return new RomulusError('USAGE', message, { hint: 'see docs/cli.md, "Local API"' });
}

function vmName(body: Fields): string {
  if (!isName(body.vm)) throw usage('"vm" must be the name of a VM');
  return body.vm;
}

function number(body: Fields, field: string, min: number, max: number): number | undefined {
  const value = body[field];
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || !(value >= min && value <= max))
    throw usage(`"${field}" must be from ${min} to ${max}`);
  return value;
}

/** The term an order was given under; in another one it is void. */
function term(body: Fields): number | undefined {
  const value = number(body, 'term', 0, Number.MAX_SAFE_INTEGER);
  if (value !== undefined && !Number.isInteger(value)) throw usage('"term" must be a whole number');
  return value;
}

function oneOf<T extends string>(body: Fields, field: string, known: readonly T[]): T | undefined {
  const value = body[field];
  if (value === undefined) return undefined;
  if (!known.includes(value as T)) throw usage(`"${field}" must be one of ${known.join(', ')}`);
  return value as T;
}

function protectRequest(body: Fields): ProtectRequest {
  if (!isName(body.to)) throw usage('"to" must be the name of a node');
  const epochMs = number(body, 'epochMs', 5, 60_000);
  const epochMaxMs = number(body, 'epochMaxMs', 5, 600_000);
  const window = number(body, 'window', 1, MAX_WINDOW_EPOCHS);
  const failover = oneOf(body, 'failover', ['auto', 'manual']);
  const onBackupLoss = oneOf(body, 'onBackupLoss', ['solo', 'freeze', 'hold']);
  return {
    vm: vmName(body),
    to: body.to,
    ...(epochMs !== undefined && { epochMs }),
    ...(epochMaxMs !== undefined && { epochMaxMs }),
    ...(window !== undefined && { window }),
    ...(failover !== undefined && { failover }),
    ...(onBackupLoss !== undefined && { onBackupLoss }),
  };
}

function exportRequest(body: Fields): ExportRequest {
  const { format, path } = body;
  if (format !== 'xen') throw usage('"format" must be "xen"');
  if (typeof path !== 'string' || !isAbsolute(path)) throw usage('"path" must be an absolute path');
  return { vm: vmName(body), format, path };
}

function failoverRequest(body: Fields): FailoverRequest {
  const { fencedBy } = body;
  if (fencedBy !== undefined && (typeof fencedBy !== 'string' || fencedBy === ''))
    throw usage('"fencedBy" must be text');
  const orderTerm = term(body);
  return {
    vm: vmName(body),
    force: body.force === true,
    ...(fencedBy !== undefined && { fencedBy }),
    ...(body.acceptDataLoss === true && { acceptDataLoss: true }),
    ...(orderTerm !== undefined && { term: orderTerm }),
  };
}
