/** The asking side of the queues: puts orders on any agent's queue, and tells what has become of them. */

import { type ConnectionOptions, Queue, type Job as QueueJob } from 'bullmq';
import type { QueueConfig } from '../../shared/config.ts';
import {
  deduplicationId,
  type Job,
  type JobError,
  type JobView,
  parseJob,
  queueOf,
  type VmOrder,
  type VmOutcome,
} from '../../shared/control/queue.ts';
import { RomulusError } from '../../shared/errors.ts';

/** Longest wait for Redis; an operator is waiting too. */
const ANSWER_TIMEOUT_MS = 5000;
const CLOSE_TIMEOUT_MS = 1000;
const RECONNECT_MAX_MS = 1000;
/** BullMQ's priorities: lower goes first. What was asked for one VM has none, and goes before all parts of hosts. */
const LAST_PRIORITY = 2000;
/** Finished jobs are kept a day, at most so many of them. */
const KEPT = { age: 24 * 3600, count: 1000 };

export const keptJobs = { removeOnComplete: KEPT, removeOnFail: KEPT };

/** Options, not a connection: what BullMQ opens itself it also closes. Never shared with the witness. */
export function redisOf({ url, socket }: QueueConfig): ConnectionOptions {
  const retryStrategy = (attempt: number) => Math.min(attempt * 50, RECONNECT_MAX_MS);
  return { ...(url === undefined ? { path: socket } : { url }), retryStrategy };
}

/** Whether it settled in that time; how it did is not asked. */
export async function within(settling: Promise<unknown>, timeMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), timeMs);
  });
  const settled = settling.then(
    () => true,
    () => true,
  );
  const outcome = await Promise.race([settled, late]);
  clearTimeout(timer);
  return outcome;
}

export class JobBoard {
  readonly #config: QueueConfig;
  readonly #queues = new Map<string, Queue>();

  constructor(config: QueueConfig) {
    this.#config = config;
  }

  /** An order that is asked for already, and unfinished, is answered instead of being put there twice. */
  async add(node: string, order: Job): Promise<JobView> {
    const queue = this.#queue(node);
    const options = { deduplication: { id: deduplicationId(order) }, ...keptJobs };
    const job = await answered(queue.add(order.kind, order, options));
    return this.view(node, job.id ?? '');
  }

  /** One job a VM below `parent`, on the same queue. Asked for again, after a kill -9 in between, they are the same jobs. */
  async addParts(
    parent: QueueJob,
    parts: VmOrder[],
    priorityOf: (vm: string) => number | undefined,
  ): Promise<void> {
    const { id = '', queueQualifiedName } = parent;
    const queue = this.#queueNamed(parent.queueName);
    const jobs = parts.map((part) => ({
      name: part.kind,
      data: part,
      opts: {
        jobId: `${id}.${part.vm}`,
        parent: { id, queue: queueQualifiedName },
        priority: priorityOf(part.vm) ?? LAST_PRIORITY,
        // One VM that cannot move does not keep the others, nor the answer.
        ignoreDependencyOnFailure: true,
        ...keptJobs,
      },
    }));
    await queue.addBulk(jobs);
  }

  /** JOB_UNKNOWN for a job that never was, or is no longer kept. */
  async view(node: string, id: string): Promise<JobView> {
    const queue = this.#queue(node);
    // State first: what is read after it can only be further.
    const state = await answered(queue.getJobState(id));
    const job = await answered(queue.getJob(id) as Promise<QueueJob | undefined>);
    if (job === undefined) {
      throw new RomulusError('JOB_UNKNOWN', `there is no job ${id} on the queue of ${node}`, {
        hint: 'finished jobs are kept for a day; what became of the VM: romulus status',
      });
    }
    const whole = await answered(wholeHost(job));
    const order = parseJob(job.data);
    return {
      node,
      id,
      kind: order.kind,
      ...('vm' in order && { vm: order.vm }),
      state: shownState(state),
      percent: whole?.percent ?? (typeof job.progress === 'number' ? job.progress : 0),
      ...(whole && { vms: whole.vms, vmCount: whole.vmCount }),
      ...(state === 'completed' && { result: job.returnvalue as unknown }),
      ...(state === 'failed' && { error: errorOf(job.failedReason) }),
    };
  }

  async close(): Promise<void> {
    const queues = [...this.#queues.values()];
    this.#queues.clear();
    await Promise.all(
      queues.map(async (queue) => {
        if (!(await within(queue.close(), CLOSE_TIMEOUT_MS))) queue.disconnect().catch(() => {}); // it is gone either way
      }),
    );
  }

  #queue(node: string): Queue {
    return this.#queueNamed(queueOf(node));
  }

  #queueNamed(name: string): Queue {
    const known = this.#queues.get(name);
    if (known !== undefined) return known;
    const queue = new Queue(name, {
      connection: {
        ...redisOf(this.#config),
        // An order that cannot be given now must not be given later, when nobody expects it any more.
        enableOfflineQueue: false,
        maxRetriesPerRequest: 1,
        commandTimeout: ANSWER_TIMEOUT_MS,
      },
    });
    queue.on('error', () => {}); // each call reports its own failure
    this.#queues.set(name, queue);
    return queue;
  }
}

/** What became of each VM of a whole host so far. */
export async function outcomesOf(parent: QueueJob): Promise<VmOutcome[]> {
  const [values, failures] = await Promise.all([
    parent.getChildrenValues(),
    parent.getIgnoredChildrenFailures(),
  ]);
  const vmOf = (key: string) => key.slice(key.lastIndexOf(`:${parent.id}.`) + `:${parent.id}.`.length);
  const outcomes: VmOutcome[] = [
    ...Object.keys(values).map((key) => ({ vm: vmOf(key), ok: true as const })),
    ...Object.entries(failures).map(([key, reason]) => ({
      vm: vmOf(key),
      ok: false as const,
      error: errorOf(reason),
    })),
  ];
  return outcomes.sort((a, b) => a.vm.localeCompare(b.vm));
}

async function wholeHost(
  job: QueueJob,
): Promise<{ vms: VmOutcome[]; vmCount: number; percent: number } | undefined> {
  if (!('node' in job.data)) return undefined;
  const [vms, { unprocessed = 0 }] = await Promise.all([
    outcomesOf(job),
    job.getDependenciesCount({ unprocessed: true }),
  ]);
  const vmCount = vms.length + unprocessed;
  const done = vmCount === 0 ? 0 : Math.floor((100 * vms.length) / vmCount);
  return { vms, vmCount, percent: job.finishedOn === undefined ? done : 100 };
}

function shownState(state: string): JobView['state'] {
  return state === 'completed' || state === 'failed' || state === 'active' ? state : 'waiting';
}

/** What the worker wrote; BullMQ's own words (a job that killed its agent too often) are passed on as they are. */
function errorOf(reason: string | undefined): JobError {
  try {
    const { code, message, hint } = JSON.parse(reason ?? '') as JobError;
    return { code, message, ...(hint !== undefined && { hint }) };
  } catch {
    return { code: 'INTERNAL', message: reason ?? 'the job failed' };
  }
}

/** Rejects with QUEUE_UNREACHABLE instead of waiting for a Redis that is gone. */
async function answered<T>(call: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer in time')), ANSWER_TIMEOUT_MS);
  });
  try {
    return await Promise.race([call, late]);
  } catch (cause) {
    call.catch(() => {}); // it may still fail later, which is no news
    const { message } = cause as Error;
    throw new RomulusError('QUEUE_UNREACHABLE', `the job queue does not answer: ${message}`, {
      hint: 'whether the order was taken is unknown; check queue: in agent.yaml and its Redis: romulus doctor',
      cause,
    });
  } finally {
    clearTimeout(timer);
  }
}
