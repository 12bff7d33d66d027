/** `romulus agent`: the daemon of one host. Wires both sides to configuration, port and local API; the only place that sees both. */

import { mkdirSync } from 'node:fs';
import { type Listener, listen } from '../backup/listener.ts';
import type { AgentConfig, WitnessConfig } from '../shared/config.ts';
import { formatEndpoint } from '../shared/config.ts';
import { RedisRegister } from '../shared/control/redis-register.ts';
import type { WitnessRegister } from '../shared/control/register.ts';
import { asRomulusError, type RomulusError } from '../shared/errors.ts';
import { serveApi } from '../shared/http.ts';
import type { Logger } from '../shared/log.ts';
import { TlsIdentity } from '../shared/tls-identity.ts';
import { agentRoutes } from './agent/api.ts';
import { EventLog } from './agent/events.ts';
import { Host } from './agent/host.ts';
import { HostWatchdog } from './agent/host-watchdog.ts';
import type { Jobs, JobsOptions } from './agent/jobs.ts';
import { AgentMetrics } from './agent/metrics.ts';
import { openScrapePort, type ScrapePort } from './agent/scrape-port.ts';

/** Runs until SIGTERM or SIGINT; guests and standby hypervisors outlive it. A second signal ends it at once. */
export async function runAgent(config: AgentConfig, log: Logger): Promise<void> {
  for (const dir of [config.dataDir, config.imageDir, config.runDir])
    mkdirSync(dir, { recursive: true, mode: 0o700 });
  const identity = config.tls && new TlsIdentity(config.tls, (fault) => logCertificates(log, fault));
  const tls = identity && (() => identity.current());
  const events = new EventLog();
  const register = config.witness && (await openWitness(config.witness, log));
  const watchdog = config.watchdog && new HostWatchdog(config.watchdog, () => host.watched(), log);
  const host: Host = new Host({
    config,
    log,
    events,
    ...(register && { register }),
    ...(watchdog && { watchdogMs: watchdog.timeoutMs }),
    ...(tls && { tls }),
  });
  let listener: Listener | undefined;
  let jobs: Jobs | undefined;
  let scrapes: ScrapePort | undefined;
  const metrics = new AgentMetrics({
    events,
    statuses: () => host.statuses(),
    certificates: () => identity?.certificates() ?? [],
    refusedConnections: () => listener?.refused ?? {},
  });
  // The socket comes first: an agent that answers on it already must stop this one before it touches any guest.
  let isReady: () => void = () => {};
  const ready = new Promise<void>((resolve) => {
    isReady = resolve;
  });
  const api = await serveApi(
    config.api,
    agentRoutes({ host, events, metrics, jobs: () => jobs, ...(identity && { identity }) }, ready),
  );
  try {
    await host.recover();
    listener = await listen({
      listen: config.listen,
      node: config.node,
      silenceMs: config.silenceMs,
      isPeer: (node) => Object.hasOwn(config.peers, node),
      standbyFor: (hello) => host.standbyFor(hello),
      ...(tls && { tls }),
    });
    jobs =
      config.queue &&
      (await startJobs({ host, queue: config.queue, priorityOf: (vm) => config.vms[vm]?.priority, log }));
    scrapes = config.metrics && (await openScrapePort(config.metrics, tls, () => metrics.text()));
    isReady();
    log.info(
      { node: config.node, listen: formatEndpoint(listener.endpoint), api: config.api },
      'agent is up',
    );
    await signalled(log);
    await jobs?.close();
    await listener.close();
  } finally {
    watchdog?.close();
    await host.close();
    await scrapes?.close();
    await api.close();
    metrics.close();
    await register?.close();
  }
}

/** Loaded only where there is a queue: an agent without one starts faster. */
async function startJobs(options: JobsOptions): Promise<Jobs> {
  const module = await import('./agent/jobs.ts');
  return new module.Jobs(options);
}

/** Throws WITNESS_UNSAFE for a Redis that may forget; one that does not answer yet is asked again for each VM. */
async function openWitness(witness: WitnessConfig, log: Logger): Promise<WitnessRegister> {
  const { url, socket: socketPath = '', timeoutMs } = witness;
  const address = url === undefined ? { socketPath } : { url };
  const register = new RedisRegister(address, { commandTimeoutMs: timeoutMs });
  try {
    await register.ready();
    await register.checkDurability();
  } catch (thrown) {
    if (asRomulusError(thrown).code === 'WITNESS_UNREACHABLE') {
      log.warn({ err: thrown }, 'the witness does not answer; no VM changes hands until it does');
      return register;
    }
    await register.close();
    throw thrown;
  }
  return register;
}

function signalled(log: Logger): Promise<void> {
  return new Promise((resolve) => {
    let signals = 0;
    const onSignal = (signal: string) => {
      signals += 1;
      if (signals > 1) process.exit(1);
      log.info({ signal }, 'ending; guests run on');
      resolve();
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
  });
}

function logCertificates(log: Logger, fault: RomulusError | undefined): void {
  if (fault === undefined) log.info('new certificates serve from now on');
  else log.error({ err: fault }, 'new certificates are not taken; the old ones go on serving');
}
