/** The effective config in the form of the file, so that what `config print` shows can be read back. */

import { formatEndpoint } from './endpoint.ts';
import type { AgentConfig, WatchdogConfig, WitnessConfig } from './parse.ts';

/** Plain data, keys as in agent.yaml, units exact (ms and B), paths absolute. */
export function configAsFile(config: AgentConfig): Record<string, unknown> {
  const { silenceMs, witness, queue, metrics, watchdog, ...rest } = config;
  return {
    ...rest,
    silence: `${silenceMs}ms`,
    listen: formatEndpoint(config.listen),
    peers: mapValues(config.peers, ({ address, fence }) => ({
      address: formatEndpoint(address),
      ...(fence && { fence: fence.command, fenceTimeout: `${fence.timeoutMs}ms` }),
    })),
    ...(witness && { witness: witnessAsFile(witness) }),
    ...(queue && { queue: { ...queue, ...(queue.url && { url: withoutPassword(queue.url) }) } }),
    ...(metrics && { metrics: { ...metrics, listen: formatEndpoint(metrics.listen) } }),
    ...(watchdog && { watchdog: watchdogAsFile(watchdog) }),
    vms: mapValues(config.vms, (vm) => {
      const { name: _name, memoryBytes, ...spec } = vm.spec;
      return {
        ...spec,
        memory: `${memoryBytes}B`,
        epoch: `${vm.epochMs}ms`,
        epochMax: `${vm.epochMaxMs}ms`,
        pauseShare: percent(vm.pauseShare),
        ...(vm.commitMaxMs !== undefined && { commitMax: `${vm.commitMaxMs}ms` }),
        shadow: percent(vm.shadowShare),
        diskCopyRate: `${vm.diskCopyBytesPerS}B`,
        window: vm.windowEpochs,
        ...(vm.priority !== undefined && { priority: vm.priority }),
        failover: vm.failover,
        onBackupLoss: vm.onBackupLoss,
        onGuestEnd: vm.onGuestEnd,
      };
    }),
  };
}

function percent(share: number): string {
  return `${Number((share * 100).toFixed(3))}%`;
}

function witnessAsFile({ timeoutMs, url, ...rest }: WitnessConfig): Record<string, unknown> {
  return { ...rest, ...(url && { url: withoutPassword(url) }), timeout: `${timeoutMs}ms` };
}

function watchdogAsFile({ device, timeoutMs }: WatchdogConfig): Record<string, unknown> {
  return { device, ...(timeoutMs !== undefined && { timeout: `${timeoutMs}ms` }) };
}

/** What `config print` shows is pasted into tickets. */
function withoutPassword(url: string): string {
  return url.replace(/:[^:@/]*@/, ':REDACTED@');
}

function mapValues<T, U>(record: Record<string, T>, map: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}
