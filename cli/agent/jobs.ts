/** The agent as the only worker of its own BullMQ queue: jobs ask for what the API asks for, and decide nothing. */

import { DelayedError, type Job as QueueJob, WaitingChildrenError, Worker } from 'bullmq';
import type { QueueConfig } from '../../shared/config.ts';
import {
  type HostOrder,
  type Job,
  type JobView,
  parseJob,
  queueOf,
  type VmOrder,
} from '../../shared/control/queue.ts';
import { asRomulusError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import { JobBoard, keptJobs, outcomesOf, redisOf, within } from './job-board.ts';
import { type Begun, carryOut, type OrderHost, type Step } from './orders.ts';
import { partsOf, STEP_INTERVAL_MS } from './whole-host.ts';

/** A job whose agent does not renew its lock for this long is taken up again, by the agent's next run. */
const LOCK_MS = 5000;
const STALL_CHECK_MS = 2000;
/** A job during which the agent died this often is given up: it may be what kills the agent. */
const MAX_DEATHS = 3;
const CLOSE_TIMEOUT_MS = 5000;

/** What the worker adds to a job's own data, so that a second run knows what the first has begun. */
interface Noted {
  begun?: true;
}

export interface JobsOptions {
  host: OrderHost;
  queue: QueueConfig;
  /** 1 moves first when a whole host does; undefined comes last. */
  priorityOf(vm: string): number | undefined;
  log: Logger;
}

export class Jobs {
  readonly board: JobBoard;
  readonly #options: JobsOptions;
  readonly #worker: Worker<Job & Noted>;
  /** Jobs under way of which a step was taken in this run of the agent. */
  readonly #begunHere = new Map<string, { hereSinceMs: number }>();
  #answers = true;

  /** Does not wait for Redis: an agent whose queue is gone does everything else. */
  constructor(options: JobsOptions) {
    this.#options = options;
    const { host, queue, log } = options;
    this.board = new JobBoard(queue);
    this.#worker = new Worker<Job & Noted>(
      queueOf(host.node),
      (job, token) => this.#process(job, token ?? ''),
      {
        connection: { ...redisOf(queue), maxRetriesPerRequest: null },
        concurrency: queue.concurrency,
        lockDuration: LOCK_MS,
        stalledInterval: STALL_CHECK_MS,
        maxStalledCount: MAX_DEATHS,
        ...keptJobs,
      },
    );
    this.#worker.on('error', (error) => {
      if (this.#answers) log.warn({ err: error }, 'the job queue does not answer; orders come by API only');
      this.#answers = false;
    });
    this.#worker.on('ready', () => {
      if (!this.#answers) log.info('the job queue answers again');
      this.#answers = true;
    });
  }

  /** Puts an order on an agent's queue; one that is the same and unfinished is answered instead. */
  async add(node: string, order: Job): Promise<JobView> {
    return this.board.add(node, order);
  }

  /** Lets go of the queue, once what runs is through or that time is over. What is not through is for the next run. */
  async close({ waitMs = CLOSE_TIMEOUT_MS } = {}): Promise<void> {
    const closing = this.#worker.close(waitMs === 0 || !this.#answers);
    if (!(await within(closing, waitMs))) this.#worker.disconnect().catch(() => {}); // closing() says the same
    await this.board.close();
  }

  async #process(job: QueueJob<Job & Noted>, token: string): Promise<unknown> {
    try {
      const order = parseJob(job.data);
      return 'vm' in order ? await this.#one(job, token, order) : await this.#whole(job, token, order);
    } catch (thrown) {
      if (thrown instanceof DelayedError || thrown instanceof WaitingChildrenError) throw thrown;
      const error = asRomulusError(thrown);
      this.#options.log.warn({ job: job.id, err: error }, 'a job was refused or failed');
      throw new Error(JSON.stringify(error.toJSON()), { cause: thrown });
    }
  }

  async #one(job: QueueJob<Job & Noted>, token: string, order: VmOrder): Promise<unknown> {
    const { id = '' } = job;
    const begun = this.#begunHere.get(id) ?? (job.data.begun === true ? 'earlier' : 'not');
    // Written before anything is done: the run after a kill -9 must know that there was one before it.
    if (begun === 'not') await this.#begin(job, order);
    if (!this.#begunHere.has(id)) this.#begunHere.set(id, { hereSinceMs: performance.now() });
    const step = await this.#step(id, order, begun);
    if ('result' in step) {
      await job.updateProgress(100);
      return step.result;
    }
    await job.updateProgress(step.percent);
    // Its place is free meanwhile: a first copy takes its time, and a failover must not wait for it.
    await job.moveToDelayed(Date.now() + STEP_INTERVAL_MS, token);
    throw new DelayedError();
  }

  /** Remembers the job for as long as it is under way. */
  async #step(id: string, order: VmOrder, begun: Begun): Promise<Step> {
    let step: Step | undefined;
    try {
      step = await carryOut(this.#options.host, order, begun);
      return step;
    } finally {
      if (step === undefined || 'result' in step) this.#begunHere.delete(id);
    }
  }

  /** The parts are jobs of their own; this one goes on when all of them are through, well or not. */
  async #whole(job: QueueJob<Job & Noted>, token: string, order: HostOrder): Promise<unknown> {
    const { host, priorityOf } = this.#options;
    if (job.data.begun !== true) {
      const parts = partsOf(host, order);
      await this.board.addParts(job, parts, priorityOf);
      await this.#begin(job, order);
    }
    if (await job.moveToWaitingChildren(token)) throw new WaitingChildrenError();
    await job.updateProgress(100);
    return { vms: await outcomesOf(job) };
  }

  async #begin(job: QueueJob<Job & Noted>, order: Job): Promise<void> {
    this.#options.log.info({ job: job.id, order, audit: true }, 'a job asks');
    await job.updateData({ ...order, begun: true });
  }
}
