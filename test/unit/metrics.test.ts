/** Metrics: what a scrape shows is what `status` shows, and nothing of a VM that is gone stays behind. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EventLog } from '../../cli/agent/events.ts';
import { AgentMetrics } from '../../cli/agent/metrics.ts';
import type { VmStatus } from '../../shared/status.ts';

const web: VmStatus = {
  vm: 'web',
  role: 'primary',
  state: 'PROTECTED',
  peer: 'b',
  hypervisor: 'qemu',
  term: 3,
  epoch: 120,
  ackedEpoch: 118,
  epochMs: 25,
  windowEpochs: 8,
  rawBytes: 4096,
  wireBytes: 512,
  dirtyPages: { last: 42, p50: 40 },
  held: { packets: 7, bytes: 900, oldestMs: 12.5 },
  lastAckAgeMs: 10,
  since: '2026-01-01T00:00:00.000Z',
};

let vms: VmStatus[];
let events: EventLog;
let metrics: AgentMetrics;

beforeEach(() => {
  vms = [web];
  events = new EventLog();
  metrics = new AgentMetrics({
    events,
    statuses: () => vms,
    certificates: () => [
      {
        name: 'node',
        path: '/pki/a.crt',
        expiresAt: '2027-01-01T00:00:00.000Z',
        expiresDays: 9,
        renew: true,
      },
    ],
  });
});
afterEach(() => metrics.close());

/** The value of one series, as text; undefined when the scrape does not have it. */
async function series(key: string): Promise<string | undefined> {
  const { text } = await metrics.text();
  return String(text)
    .split('\n')
    .find((line) => line.startsWith(`${key} `))
    ?.slice(key.length + 1);
}

const labels = '{vm="web",role="primary"}';

describe('a scrape', () => {
  it.each([
    ['romulus_protected', '1'],
    ['romulus_term', '3'],
    ['romulus_epoch', '120'],
    ['romulus_standby_lag_epochs', '2'],
    ['romulus_dirty_pages', '42'],
    ['romulus_held_packets', '7'],
    ['romulus_held_oldest_seconds', '0.0125'],
    ['romulus_raw_bytes_total', '4096'],
    ['romulus_wire_bytes_total', '512'],
  ])('shows %s as the status has it, again and again', async (name, value) => {
    expect(await series(name + labels)).toBe(value);
    expect(await series(name + labels)).toBe(value);
  });

  it('shows one state of a VM as 1 and all others as 0', async () => {
    expect(await series('romulus_vm_state{vm="web",role="primary",state="PROTECTED"}')).toBe('1');
    vms = [{ ...web, state: 'DEGRADED' }];
    expect(await series('romulus_vm_state{vm="web",role="primary",state="PROTECTED"}')).toBe('0');
    expect(await series('romulus_vm_state{vm="web",role="primary",state="DEGRADED"}')).toBe('1');
    expect(await series(`romulus_protected${labels}`)).toBe('0');
  });

  it('shows the progress of the first copy only while there is one', async () => {
    expect(await series(`romulus_sync_ratio${labels}`)).toBeUndefined();
    vms = [{ ...web, state: 'SYNCING', sync: { percent: 25, sentBytes: 1, round: 1 } }];
    expect(await series(`romulus_sync_ratio${labels}`)).toBe('0.25');
  });

  it('counts epochs and sorts their pauses and commits into buckets', async () => {
    events.emit('web', 'epoch', { epoch: 1, pauseMs: 1.5 });
    events.emit('web', 'epoch', { epoch: 2, pauseMs: 4 });
    events.emit('web', 'acked', { epoch: 1, commitMs: 20 });
    expect(await series(`romulus_epochs_total${labels}`)).toBe('2');
    expect(await series('romulus_epoch_pause_seconds_bucket{le="0.002",vm="web",role="primary"}')).toBe('1');
    expect(await series(`romulus_epoch_pause_seconds_count${labels}`)).toBe('2');
    expect(await series('romulus_epoch_commit_seconds_bucket{le="0.025",vm="web",role="primary"}')).toBe('1');
  });

  it('forgets the gauges of a VM that is gone', async () => {
    vms = [];
    expect(await series(`romulus_term${labels}`)).toBeUndefined();
  });

  it('shows when certificates end', async () => {
    const key = 'romulus_certificate_expiry_timestamp_seconds{certificate="node"}';
    expect(await series(key)).toBe(String(Date.UTC(2027, 0, 1) / 1000));
  });

  it('has every metric of docs/metrics.md, and that has every metric of ours', async () => {
    const { readFileSync } = await import('node:fs');
    const docs = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
    const told = new Set([...docs.matchAll(/`(romulus_\w+)`/g)].map((match) => match[1]));
    const { text } = await metrics.text();
    const shown = new Set([...String(text).matchAll(/^# TYPE (romulus_\w+)/gm)].map((match) => match[1]));
    expect(shown).toEqual(told);
  });
});
