/** The operator's side of the local API: one call, one answer, and the agent's errors as RomulusErrors again. */

import { type IncomingMessage, request } from 'node:http';
import type { JobView } from '../shared/control/queue.ts';
import { type ErrorCode, errorCodes, RomulusError } from '../shared/errors.ts';
import { readEvents } from '../shared/http.ts';
import type {
  AgentEvent,
  AgentStatus,
  ApiErrorBody,
  ExportRequest,
  ExportResult,
  FailoverRequest,
  FailoverResult,
  ProtectRequest,
  VmStatus,
} from '../shared/status.ts';

/** Bytes of an answer, at most: some ten thousand VMs. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
/** An agent that accepts a call and says nothing for this long hangs. */
const ANSWER_TIMEOUT_MS = 60_000;
/** A guest of many GiB onto a slow disk. */
const EXPORT_TIMEOUT_MS = 3_600_000;

export class AgentClient {
  readonly socketPath: string;

  constructor(socketPath: string) {
    this.socketPath = socketPath;
  }

  status(): Promise<AgentStatus> {
    return this.#call('GET', '/v1/status') as Promise<AgentStatus>;
  }

  vm(name: string): Promise<VmStatus> {
    return this.#call('GET', `/v1/vms/${encodeURIComponent(name)}`) as Promise<VmStatus>;
  }

  protect(body: ProtectRequest): Promise<VmStatus> {
    return this.#call('POST', '/v1/protect', body) as Promise<VmStatus>;
  }

  unprotect(vm: string): Promise<VmStatus> {
    return this.#call('POST', '/v1/unprotect', { vm }) as Promise<VmStatus>;
  }

  failover(body: FailoverRequest): Promise<FailoverResult> {
    return this.#call('POST', '/v1/failover', body) as Promise<FailoverResult>;
  }

  exportCheckpoint(body: ExportRequest): Promise<ExportResult> {
    return this.#call('POST', '/v1/export', body, EXPORT_TIMEOUT_MS) as Promise<ExportResult>;
  }

  /** Asks by the queue, or without one at once; `on` names the agent that is asked. */
  ask(order: { kind: JobView['kind']; on?: string; [field: string]: unknown }): Promise<JobView> {
    return this.#call('POST', '/v1/jobs', order) as Promise<JobView>;
  }

  job({ node, id = '' }: Pick<JobView, 'node' | 'id'>): Promise<JobView> {
    const path = `/v1/jobs/${encodeURIComponent(node)}/${encodeURIComponent(id)}`;
    return this.#call('GET', path) as Promise<JobView>;
  }

  /** This host owns the VM, says the operator, whatever the witness lost or the backup may hold. */
  confirm(vm: string, term?: number): Promise<VmStatus> {
    return this.#call('POST', '/v1/confirm', { vm, term }) as Promise<VmStatus>;
  }

  switchover(vm: string, term?: number): Promise<VmStatus> {
    return this.#call('POST', '/v1/switchover', { vm, term }) as Promise<VmStatus>;
  }

  /** Digests of a standby image by a full pass, beside those the primary named for that epoch. */
  verify(vm: string): Promise<{ epoch: number; expected: string; found: string }> {
    return this.#call('GET', `/v1/vms/${encodeURIComponent(vm)}/verify`) as Promise<{
      epoch: number;
      expected: string;
      found: string;
    }>;
  }

  /** Events as they happen, none of them missed from when this resolves; leave the loop to end the stream. */
  async openEvents(signal?: AbortSignal): Promise<AsyncGenerator<AgentEvent>> {
    const response = await this.#send('GET', '/v1/events', undefined, signal);
    if (response.statusCode !== 200) throw await errorOf(response);
    return this.#eventsOf(response, signal);
  }

  /** The same, opened by whoever begins to read. */
  async *events(signal?: AbortSignal): AsyncGenerator<AgentEvent> {
    yield* await this.openEvents(signal);
  }

  async *#eventsOf(response: IncomingMessage, signal: AbortSignal | undefined): AsyncGenerator<AgentEvent> {
    try {
      yield* readEvents(response) as AsyncGenerator<AgentEvent>;
    } catch (thrown) {
      if (!signal?.aborted) throw this.#unreachable(thrown);
    } finally {
      response.destroy();
    }
  }

  async #call(method: string, path: string, body?: unknown, timeoutMs = ANSWER_TIMEOUT_MS): Promise<unknown> {
    const response = await this.#send(method, path, body, AbortSignal.timeout(timeoutMs));
    if (response.statusCode !== 200) throw await errorOf(response);
    try {
      return JSON.parse(await readText(response));
    } catch (thrown) {
      if (thrown instanceof RomulusError) throw thrown;
      throw this.#unreachable(thrown);
    }
  }

  #send(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const payload = body === undefined ? undefined : JSON.stringify(body);
      const call = request({
        socketPath: this.socketPath,
        method,
        path,
        agent: false,
        ...(signal && { signal }),
        headers: payload === undefined ? {} : { 'content-type': 'application/json' },
      });
      call.once('response', resolve);
      call.once('error', (error) => reject(this.#unreachable(error)));
      call.end(payload);
    });
  }

  #unreachable(cause: unknown): RomulusError {
    const { code, message } = cause as NodeJS.ErrnoException;
    const denied = code === 'EACCES' || code === 'EPERM';
    return new RomulusError(
      'AGENT_UNREACHABLE',
      `no agent answers on ${this.socketPath} (${code ?? message ?? cause})`,
      {
        cause,
        hint: denied
          ? 'run the command as the user of the agent: sudo romulus ...'
          : 'systemctl start romulus-agent, or romulus agent --config FILE; another socket is named by --api PATH',
      },
    );
  }
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > MAX_ANSWER_BYTES) {
      throw new RomulusError('WIRE_LIMIT', `the agent's answer is larger than ${MAX_ANSWER_BYTES} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

async function errorOf(response: IncomingMessage): Promise<RomulusError> {
  try {
    const { error } = JSON.parse(await readText(response)) as ApiErrorBody;
    const known = Object.hasOwn(errorCodes, error.code);
    const code: ErrorCode = known ? error.code : 'INTERNAL';
    const message = known ? error.message : `${error.code}: ${error.message}`;
    return new RomulusError(code, message, error.hint === undefined ? {} : { hint: error.hint });
  } catch (cause) {
    return new RomulusError('INTERNAL', `the agent answered with HTTP status ${response.statusCode}`, {
      cause,
    });
  }
}
