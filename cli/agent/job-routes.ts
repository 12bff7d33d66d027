/** The API's side of jobs: an order is put on a queue, or, without one, carried out at once as far as that goes. */

import { type Job, type JobView, parseJob } from '../../shared/control/queue.ts';
import { RomulusError } from '../../shared/errors.ts';
import type { Routes } from '../../shared/http.ts';
import { isName } from '../../shared/wire/messages.ts';
import type { Jobs } from './jobs.ts';
import { type OrderHost, termOf } from './orders.ts';
import { carryOutDirectly } from './whole-host.ts';

/** VMs at once where no queue says how many. */
const DIRECT_CONCURRENCY = 8;

/** `jobs` gives undefined where no queue is configured. */
export function jobRoutes(host: OrderHost, jobs: () => Jobs | undefined): Routes {
  return {
    'POST /v1/jobs': ({ body }) => ask(host, jobs(), body),
    'GET /v1/jobs/:node/:id': ({ params }) =>
      required(jobs(), 'there are no jobs').board.view(params.node ?? '', params.id ?? ''),
  };
}

/** The body is a job, with `on` for the agent that is asked; the term is the present one unless it is given. */
function ask(host: OrderHost, jobs: Jobs | undefined, body: unknown): Promise<JobView> {
  const { on, ...asked } = { ...(body as Record<string, unknown>) };
  const { vm } = asked;
  const order = parseJob({ ...(isName(vm) && { term: termOf(host, vm) }), ...asked });
  const node = on === undefined ? defaultNode(host, order) : on;
  if (!isName(node)) throw new RomulusError('USAGE', '"on" must be the name of a node');
  if (jobs === undefined && !('vm' in order) && node === host.node)
    return carryOutDirectly(host, order, DIRECT_CONCURRENCY);
  return required(jobs, 'orders for another agent are jobs').add(node, order);
}

/** A host drains itself; what is dead is taken over by the one that is asked. */
function defaultNode(host: OrderHost, order: Job): string {
  return order.kind === 'drainHost' ? order.node : host.node;
}

function required(jobs: Jobs | undefined, what: string): Jobs {
  if (jobs !== undefined) return jobs;
  throw new RomulusError('PREREQUISITE', `${what}, and no queue is configured`, {
    hint: 'set queue: in agent.yaml of every host, or give the command on the host it is about',
  });
}
