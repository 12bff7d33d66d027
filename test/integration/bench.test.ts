/** The bench verb's rows are what scripts read: their fields, and baselines beside each figure. */

import { describe, expect, it } from 'vitest';
import { runBench } from '../../bench/run.ts';
import { benchWire } from '../../bench/wire.ts';
import { benchText } from '../../cli/bench-text.ts';

const request = {
  traces: [],
  guestGiB: [1],
  rounds: 1,
  threads: 1,
  epoch: { epochMs: [25], epochs: 20, memoryMiB: [256], failovers: 1, requests: 0 },
  failover: { kills: 1, silenceMs: 2000, vms: 1 },
  onProgress: () => {},
};

describe('romulus bench', () => {
  it('scan lists the dirty pages of the same bitmaps by each method', async () => {
    const rows = await runBench('scan', request);
    for (const method of ['naive', 'romulus', 'limit-read']) {
      expect(rows.filter((row) => row.method === method).length).toBeGreaterThan(0);
    }
    for (const row of rows)
      expect(row).toMatchObject({ guestGiB: expect.any(Number), ns: expect.any(Number) });
    expect(benchText('scan', rows)).toContain('naive');
  });

  it('delta is smaller than whole pages, with and without snappy, on the trace that comes with the source', async () => {
    const rows = await runBench('delta', request);
    const sent = (method: string) => rows.find((row) => row.method === method)?.wireBytes ?? 0;
    expect(sent('romulus')).toBeGreaterThan(0);
    expect(sent('romulus+zstd1')).toBeLessThan(sent('xbzrle'));
    expect(sent('romulus')).toBeLessThan(sent('pages+snappy'));
    expect(sent('pages+snappy')).toBeLessThan(sent('pages'));
    for (const row of rows) {
      expect(row).toMatchObject({ trace: 'pg-100', threads: 1, rawBytes: expect.any(Number) });
    }
    expect(benchText('delta', rows)).toContain('XBZRLE');
  });

  it('wire acknowledges epochs between two processes, beside raw TCP and WebSocket alone', async () => {
    const rows = await benchWire({ epochs: 5, rateMiB: 8 });
    expect(rows.map(({ method, what }) => `${method} ${what}`)).toEqual([
      'raw-tcp round-trip',
      'websocket round-trip',
      'romulus round-trip',
      'raw-tls round-trip',
      'romulus-tls round-trip',
      'raw-tcp rate',
      'websocket rate',
      'romulus rate',
      'raw-tls rate',
      'romulus-tls rate',
    ]);
    for (const row of rows) expect(row.roundTripUs?.p50 ?? row.gbPerS).toBeGreaterThan(0);
    expect(benchText('wire', rows)).toContain('raw-tcp');
  });

  it('epoch measures pauses, bytes, memory and a failover of a real guest', async () => {
    const rows = await runBench('epoch', request);
    expect(rows.map((row) => row.kind)).toEqual(['epoch', 'failover']);
    expect(rows[0]).toMatchObject({ epochMs: 25, epochs: 20, wireShare: expect.any(Number) });
    const text = benchText('epoch', rows);
    expect(text).toContain('PAUSE');
    expect(text).toContain('DECISION TO RUNNING');
  });

  it('failover of several VMs at once has them all go on, from what was acknowledged', async () => {
    const rows = await runBench('failover', { ...request, failover: { ...request.failover, vms: 3 } });
    expect(rows).toMatchObject([{ what: 'fleet', vms: 3, lost: 0, twoActive: 0 }]);
    expect(benchText('failover', rows)).toContain('TO RUNNING');
  });
});
