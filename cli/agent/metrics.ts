/** What Prometheus scrapes from `/metrics`: gauges read from the VMs' status at each scrape, histograms fed by events. */

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { engine } from '../../native/index.ts';
import { TextAnswer } from '../../shared/http.ts';
import type { AgentEvent, CertificateStatus, VmStatus } from '../../shared/status.ts';
import { VERSION } from '../../shared/version.ts';
import { type ProtectionState, protectionStates } from '../../shared/vm.ts';
import type { EventLog } from './events.ts';

/** From a tenth of the shortest pause measured to what a client would call an outage, in seconds. */
const PAUSE_BUCKETS_S = [0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1];
const COMMIT_BUCKETS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

/** Labels of everything that belongs to a VM; epochs are values, never labels. */
const VM_LABELS = ['vm', 'role'] as const;

/** What the scrape reads: the agent's own view, the same that `status` shows. */
export interface MetricsSource {
  events: EventLog;
  statuses(): VmStatus[];
  /** When the certificates in use end; empty without TLS. */
  certificates?(): CertificateStatus[];
  /** Connections turned away at the replication port so far, by reason. */
  refusedConnections?(): Readonly<Record<string, number>>;
}

/** One gauge of a VM: name without prefix, help, and its value, undefined where the VM has none. */
type VmGauge = [name: string, help: string, value: (vm: VmStatus) => number | undefined];

const vmGauges: VmGauge[] = [
  [
    'protected',
    '1 while the host may die and nothing a client has seen is lost',
    (vm) => Number(vm.state === 'PROTECTED'),
  ],
  ['term', 'Term of the VM as this node knows it; grows with each failover', (vm) => vm.term],
  ['epoch', 'Last epoch ended (primary) or committed (backup)', (vm) => vm.epoch],
  ['acked_epoch', 'Last epoch acknowledged (primary) or applied (backup)', (vm) => vm.ackedEpoch],
  [
    'standby_lag_epochs',
    'Epochs ended and not yet acknowledged',
    (vm) => (vm.role === 'primary' ? Math.max(0, vm.epoch - vm.ackedEpoch) : undefined),
  ],
  [
    'epoch_length_seconds',
    'Length of an epoch now',
    (vm) => (vm.role === 'primary' ? vm.epochMs / 1000 : undefined),
  ],
  ['dirty_pages', 'Dirty pages of the last epoch', (vm) => vm.dirtyPages?.last],
  [
    'last_ack_age_seconds',
    'Time since the last acknowledgement (primary) or the last word of the primary (backup)',
    (vm) => seconds(vm.lastAckAgeMs),
  ],
  ['held_packets', 'Packets in the output gates, waiting for an acknowledgement', (vm) => vm.held?.packets],
  ['held_bytes', 'Bytes in the output gates, waiting for an acknowledgement', (vm) => vm.held?.bytes],
  [
    'held_oldest_seconds',
    'How long the oldest packet in the output gates has waited',
    (vm) => seconds(vm.held?.oldestMs),
  ],
  [
    'sync_ratio',
    'Share of the first copy that is through, 0 to 1, while it runs',
    (vm) => (vm.sync ? vm.sync.percent / 100 : undefined),
  ],
  ['sync_sent_bytes', 'Bytes sent for the first copy, while it runs', (vm) => vm.sync?.sentBytes],
  ['shadow_bytes', "Memory of the primary's shadow copy", (vm) => vm.memoryBytes?.shadow],
  ['image_bytes', 'Memory of the standby image', (vm) => vm.memoryBytes?.image],
];

/** Sums the status keeps itself; they start again from 0 with a new protection, as counters may. */
const vmCounters: VmGauge[] = [
  [
    'raw_bytes_total',
    'Dirty pages so far, in whole pages',
    (vm) => (vm.role === 'primary' ? vm.rawBytes : undefined),
  ],
  ['wire_bytes_total', 'Bytes sent (primary) or received (backup) for epochs so far', (vm) => vm.wireBytes],
];

export class AgentMetrics {
  readonly registry = new Registry();
  readonly #source: MetricsSource;
  readonly #epochs: Counter<'vm' | 'role'>;
  readonly #failovers: Counter<'vm'>;
  readonly #pause: Histogram<'vm' | 'role'>;
  readonly #commit: Histogram<'vm' | 'role'>;
  readonly #forget: () => void;

  constructor(source: MetricsSource) {
    this.#source = source;
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    this.#epochs = new Counter({
      name: 'romulus_epochs_total',
      help: 'Epochs ended (primary) or committed (backup)',
      labelNames: VM_LABELS,
      registers,
    });
    this.#failovers = new Counter({
      name: 'romulus_failovers_total',
      help: 'Promotions on this node',
      labelNames: ['vm'],
      registers,
    });
    this.#pause = new Histogram({
      name: 'romulus_epoch_pause_seconds',
      help: 'How long the guest stood still for an epoch',
      labelNames: VM_LABELS,
      buckets: PAUSE_BUCKETS_S,
      registers,
    });
    this.#commit = new Histogram({
      name: 'romulus_epoch_commit_seconds',
      help: 'From the end of an epoch to its acknowledgement',
      labelNames: VM_LABELS,
      buckets: COMMIT_BUCKETS_S,
      registers,
    });
    for (const [name, help, value] of vmGauges) this.#vmGauge(name, help, value);
    for (const [name, help, value] of vmCounters) this.#vmCounter(name, help, value);
    this.#state();
    this.#buildInfo();
    this.#certificates();
    this.#refusedConnections();
    this.#forget = source.events.listen((event) => this.#onEvent(event));
  }

  /** The scrape's answer. */
  async text(): Promise<TextAnswer> {
    return new TextAnswer(await this.registry.metrics(), this.registry.contentType);
  }

  close(): void {
    this.#forget();
    this.registry.clear();
  }

  #onEvent(event: AgentEvent): void {
    const { vm, kind } = event;
    if (kind === 'epoch') {
      this.#epochs.inc({ vm, role: 'primary' });
      if (typeof event.pauseMs === 'number')
        this.#pause.observe({ vm, role: 'primary' }, event.pauseMs / 1000);
    } else if (kind === 'acked') {
      if (typeof event.commitMs === 'number')
        this.#commit.observe({ vm, role: 'primary' }, event.commitMs / 1000);
    } else if (kind === 'commit') this.#epochs.inc({ vm, role: 'backup' });
    else if (kind === 'failover') this.#failovers.inc({ vm });
  }

  #vmGauge(name: string, help: string, value: VmGauge[2]): void {
    const source = this.#source;
    new Gauge({
      name: `romulus_${name}`,
      help,
      labelNames: VM_LABELS,
      registers: [this.registry],
      collect() {
        this.reset();
        for (const [labels, now] of valuesOf(source.statuses(), value)) this.set(labels, now);
      },
    });
  }

  #vmCounter(name: string, help: string, value: VmGauge[2]): void {
    const source = this.#source;
    new Counter({
      name: `romulus_${name}`,
      help,
      labelNames: VM_LABELS,
      registers: [this.registry],
      collect() {
        this.reset();
        for (const [labels, now] of valuesOf(source.statuses(), value)) this.inc(labels, now);
      },
    });
  }

  /** One series a state, 1 for the one the VM is in: a state that is left must not linger as a label. */
  #state(): void {
    const source = this.#source;
    new Gauge({
      name: 'romulus_vm_state',
      help: '1 for the state the VM is in, 0 for the others',
      labelNames: [...VM_LABELS, 'state'],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const { vm, role, state: now } of source.statuses())
          for (const state of known(now)) this.set({ vm, role, state }, Number(state === now));
      },
    });
  }

  #buildInfo(): void {
    const kernels = [...new Set(Object.values(engine().cpu().kernels))].join('/');
    new Gauge({
      name: 'romulus_build_info',
      help: 'Version of the agent and kernels of its engine; always 1',
      labelNames: ['version', 'isa'],
      registers: [this.registry],
    }).set({ version: VERSION, isa: kernels }, 1);
  }

  #certificates(): void {
    const source = this.#source;
    new Gauge({
      name: 'romulus_certificate_expiry_timestamp_seconds',
      help: 'When a certificate in use ends, seconds since 1970',
      labelNames: ['certificate'],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const { name, expiresAt } of source.certificates?.() ?? [])
          this.set({ certificate: name }, Date.parse(expiresAt) / 1000);
      },
    });
  }

  #refusedConnections(): void {
    const source = this.#source;
    new Counter({
      name: 'romulus_connections_refused_total',
      help: 'Connections turned away at the replication port before they said who they are',
      labelNames: ['reason'],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const [reason, count] of Object.entries(source.refusedConnections?.() ?? {}))
          this.inc({ reason }, count);
      },
    });
  }
}

function known(state: ProtectionState): readonly ProtectionState[] {
  return protectionStates.includes(state) ? protectionStates : [...protectionStates, state];
}

function seconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1000;
}

/** Of the VMs that have such a value, with their labels. */
function* valuesOf(
  statuses: VmStatus[],
  value: VmGauge[2],
): Generator<[labels: { vm: string; role: string }, now: number]> {
  for (const status of statuses) {
    const now = value(status);
    if (now !== undefined) yield [{ vm: status.vm, role: status.role }, now];
  }
}
