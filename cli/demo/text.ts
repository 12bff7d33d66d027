/** What the demo shows people: each step as it happens, and the figures at the end. */

import { formatBytes, formatMs } from '../../shared/config.ts';
import type { AgentEvent } from '../../shared/status.ts';
import type { DemoResult } from '../demo.ts';

const began = performance.now();

/** One step of the story, with the seconds since the start, on stderr. */
export function say(line: string): void {
  const seconds = ((performance.now() - began) / 1000).toFixed(1).padStart(5);
  process.stderr.write(`${seconds} s  ${line}\n`);
}

/** One epoch, live. */
export function epochLine(event: AgentEvent, pauseP50: number): string {
  const raw = formatBytes(Number(event.rawBytes));
  const sent = formatBytes(Number(event.sentBytes));
  const pause = `${Number(event.pauseMs).toFixed(1)} ms (p50 ${pauseP50.toFixed(1)})`;
  return `epoch ${event.epoch}  pause ${pause}  dirty pages ${event.dirtyPages}  raw ${raw}  sent ${sent}`;
}

export function demoText(result: DemoResult): string {
  const share = ((100 * result.wireBytes) / Math.max(1, result.rawBytes)).toFixed(1);
  const rows: [string, string][] = [
    ['epochs acknowledged', `${result.epochs}, one every ${formatMs(result.epochMs)}`],
    ['pause of the guest', `p50 ${formatMs(result.pauseMs.p50)}, p99 ${formatMs(result.pauseMs.p99)}`],
    ['dirty pages an epoch', `p50 ${result.dirtyPagesP50}`],
    ['page-granular bytes', formatBytes(result.rawBytes)],
    ['bytes sent', `${formatBytes(result.wireBytes)} (${share} %)`],
    ['power cut to noticed', formatMs(result.detectMs)],
    ['decision to running guest', formatMs(result.resumeMs)],
    ['power cut to running guest', formatMs(result.rtoMs)],
    ['guest went on from epoch', String(result.failoverEpoch)],
    ['its checks of its memory', `${result.checksAfter} complete, ${result.faults} faults`],
  ];
  if (result.acknowledgedWrites !== null) {
    rows.push(
      ['writes acknowledged to a client', `${result.acknowledgedWrites}, ${result.lostWrites} lost`],
      ['its TCP connection', result.connectionSurvived ? 'survived' : 'broke'],
      ['its longest wait', formatMs(result.clientGapMs ?? 0)],
    );
  }
  const width = Math.max(...rows.map(([label]) => label.length));
  const table = rows.map(([label, value]) => `  ${label.padEnd(width)}  ${value}`).join('\n');
  const verdict = result.ok
    ? 'The guest outlived its host, and its own check passes.'
    : 'FAILED: the guest did not go on as one life.';
  return `\n${table}\n\n${verdict}`;
}
