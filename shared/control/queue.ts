/** What operators ask of agents over BullMQ: names and payloads. Jobs run twice or late, so they only ask, and carry a term. */

/** One queue per agent; the agent it is named after is the only worker. */
export function queueOf(node: string): string {
  return `romulus-agent-${node}`;
}

interface VmJob {
  vm: string;
  /** The term the job was made under; an agent in another one refuses it with TERM_STALE. */
  term: number;
}

export type Job =
  | (VmJob & { kind: 'protect'; to: string })
  | (VmJob & { kind: 'unprotect' })
  | (VmJob & { kind: 'switchover' })
  | (VmJob & { kind: 'failover'; fencedBy?: string; acceptDataLoss?: boolean })
  | (VmJob & { kind: 'confirm' })
  /** Parents of a flow with one child job per VM. */
  | { kind: 'drainHost'; node: string; concurrency: number }
  | { kind: 'failoverHost'; node: string; concurrency: number; fencedBy: string };

/**
 * For BullMQ's `deduplication: { id }`: while a job is unfinished, the same request again is the same job. Not a job id,
 * which would also swallow a request made anew after a refusal; a forced failover is not merged into a plain one.
 */
export function deduplicationId(job: Job): string {
  if (!('vm' in job)) return `${job.kind}-${job.node}`;
  const forced = 'fencedBy' in job && job.fencedBy !== undefined ? '-forced' : '';
  return `${job.kind}${forced}-${job.vm}-${job.term}`;
}
