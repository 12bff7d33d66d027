/** What operators ask of agents over BullMQ: names and payloads. Jobs run twice or late, so they only ask, and carry a term. */

import * as v from 'valibot';
import { NameSchema } from '../config/schema.ts';
import { RomulusError } from '../errors.ts';
import { MAX_FENCE_CLAIM_LENGTH } from '../limits.ts';

/** One queue per agent; the agent it is named after is the only worker. */
export function queueOf(node: string): string {
  return `romulus-agent-${node}`;
}

interface VmJob {
  vm: string;
  /** The term the job was made under; an agent in another one refuses it with TERM_STALE. */
  term: number;
}

/** What is asked about one VM. */
export type VmOrder =
  | (VmJob & { kind: 'protect'; to: string })
  | (VmJob & { kind: 'unprotect' })
  | (VmJob & { kind: 'switchover' })
  | (VmJob & { kind: 'failover'; fencedBy?: string; acceptDataLoss?: boolean })
  | (VmJob & { kind: 'confirm' });

/** What is asked about a whole host: parents of a flow with one child job per VM. */
export type HostOrder =
  /** Every VM that runs on `node` goes to its backup; asked of `node` itself. */
  | { kind: 'drainHost'; node: string }
  /** Every VM of `node` that is on standby with the agent asked goes on there; `node` is dead, says `fencedBy`. */
  | { kind: 'failoverHost'; node: string; fencedBy?: string; acceptDataLoss?: boolean };

export type Job = VmOrder | HostOrder;

/**
 * For BullMQ's `deduplication: { id }`: while a job is unfinished, the same request again is the same job. Not a job id,
 * which would also swallow a request made anew after a refusal; a forced failover is not merged into a plain one.
 */
export function deduplicationId(job: Job): string {
  const forced = 'fencedBy' in job && job.fencedBy !== undefined ? '-forced' : '';
  const lossy = 'acceptDataLoss' in job && job.acceptDataLoss ? '-lossy' : '';
  const order = `${job.kind}${forced}${lossy}`;
  return 'vm' in job ? `${order}-${job.vm}-${job.term}` : `${order}-${job.node}`;
}

/** What became of one VM of a whole host. */
export type VmOutcome = { vm: string; ok: true } | { vm: string; ok: false; error: JobError };

/** An error as a job keeps it. */
export type JobError = { code: string; message: string; hint?: string };

/** GET /v1/jobs/NODE/ID, and the answer to POST /v1/jobs. */
export interface JobView {
  /** The agent whose queue it is on. */
  node: string;
  /** Undefined for an order that was carried out at once, without a queue. */
  id?: string;
  kind: Job['kind'];
  vm?: string;
  /** `waiting`: not begun, or waiting for its VMs. */
  state: 'waiting' | 'active' | 'completed' | 'failed';
  /** How far it is, 0 to 100. */
  percent: number;
  /** VMs of a whole host, as far as they are through. */
  vms?: VmOutcome[];
  /** VMs of a whole host, all of them. */
  vmCount?: number;
  /** What the API answers to the same order. */
  result?: unknown;
  error?: JobError;
}

const Term = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const Claim = v.pipe(v.string(), v.nonEmpty(), v.maxLength(MAX_FENCE_CLAIM_LENGTH));
const about = { vm: NameSchema, term: Term };
const JobSchema = v.variant('kind', [
  v.object({ kind: v.literal('protect'), ...about, to: NameSchema }),
  v.object({ kind: v.literal('unprotect'), ...about }),
  v.object({ kind: v.literal('switchover'), ...about }),
  v.object({
    kind: v.literal('failover'),
    ...about,
    fencedBy: v.exactOptional(Claim),
    acceptDataLoss: v.exactOptional(v.boolean()),
  }),
  v.object({ kind: v.literal('confirm'), ...about }),
  v.object({ kind: v.literal('drainHost'), node: NameSchema }),
  v.object({
    kind: v.literal('failoverHost'),
    node: NameSchema,
    fencedBy: v.exactOptional(Claim),
    acceptDataLoss: v.exactOptional(v.boolean()),
  }),
]);

/** Checks what came from outside, the API or Redis; USAGE names the first thing that is wrong. */
export function parseJob(value: unknown): Job {
  const parsed = v.safeParse(JobSchema, value);
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  const field = issue.path?.map(({ key }) => String(key)).join('.');
  throw new RomulusError('USAGE', `not a job: ${field === undefined ? '' : `"${field}": `}${issue.message}`, {
    hint: 'see docs/cli.md, "Jobs"',
  });
}
