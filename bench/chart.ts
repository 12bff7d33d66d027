/**
 * Draws size against time per technique, from the rows of `romulus bench delta --json`:
 * npx tsx bench/chart.ts ROWS.json > docs/benchmarks.svg
 */

import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

interface Row {
  method: string;
  threads: number;
  pages: number;
  rawBytes: number;
  wireBytes: number;
  cpuNs: number;
}

interface Point {
  method: string;
  usPerPage: number;
  percent: number;
}

const WIDTH = 760;
const HEIGHT = 440;
const LEFT = 70;
const RIGHT = 150;
const TOP = 50;
const BOTTOM = 60;

/** Pooled over all traces, one thread; yardsticks that send nothing are left out. */
export function pointsOf(rows: Row[]): Point[] {
  const methods = [...new Set(rows.map((row) => row.method))].filter(
    (method) => !method.startsWith('limit-'),
  );
  return methods.map((method) => {
    const own = rows.filter((row) => row.method === method && row.threads === 1);
    const sum = (field: 'pages' | 'rawBytes' | 'wireBytes' | 'cpuNs') =>
      own.reduce((total, row) => total + row[field], 0);
    return {
      method,
      usPerPage: sum('cpuNs') / 1000 / sum('pages'),
      percent: (100 * sum('wireBytes')) / sum('rawBytes'),
    };
  });
}

/** Both axes logarithmic: down and left is better. */
export function chart(points: Point[]): string {
  const x = scale(
    points.map((point) => point.usPerPage),
    LEFT,
    WIDTH - RIGHT,
  );
  const y = scale(
    points.map((point) => point.percent),
    HEIGHT - BOTTOM,
    TOP,
  );
  const grid = [
    ...x.ticks.map(
      (tick) =>
        line(x.at(tick), TOP, x.at(tick), HEIGHT - BOTTOM) +
        text(x.at(tick), HEIGHT - BOTTOM + 18, `${tick}`, 'middle'),
    ),
    ...y.ticks.map(
      (tick) =>
        line(LEFT, y.at(tick), WIDTH - RIGHT, y.at(tick)) +
        text(LEFT - 8, y.at(tick) + 4, `${tick} %`, 'end'),
    ),
  ];
  const labels = new Labels();
  const dots = points.map((point) => {
    const ours = point.method.startsWith('romulus');
    const at = { x: x.at(point.usPerPage), y: y.at(point.percent) };
    const dot = `<circle cx="${at.x.toFixed(1)}" cy="${at.y.toFixed(1)}" r="5" fill="${ours ? '#0b6e4f' : '#b04a3f'}"/>`;
    return dot + text(at.x + 9, labels.place(at.x + 9, at.y + 4, point.method), point.method, 'start');
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12" fill="#222"><title>Bytes sent against processor time, per technique</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    text(LEFT, 26, 'Bytes sent against processor time, per technique (down and left is better)', 'start'),
    ...grid,
    ...dots,
    text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, 'microseconds of processor time per dirty page', 'middle'),
    text(LEFT, TOP - 8, 'sent, of the dirty pages', 'start'),
    '</svg>',
    '',
  ].join('\n');
}

/** Keeps labels from lying on one another: each moves up until it is free. */
class Labels {
  readonly #placed: { x: number; y: number; width: number }[] = [];

  place(x: number, wantedY: number, content: string): number {
    const width = content.length * 7;
    const taken = (y: number) =>
      this.#placed.some(
        (other) => Math.abs(other.y - y) < 13 && x < other.x + other.width && other.x < x + width,
      );
    let y = wantedY;
    while (taken(y)) y -= 4;
    this.#placed.push({ x, y, width });
    return y;
  }
}

function scale(values: number[], from: number, to: number): { at(value: number): number; ticks: number[] } {
  const low = Math.log10(Math.min(...values) / 1.5);
  const high = Math.log10(Math.max(...values) * 1.5);
  const at = (value: number) => from + ((Math.log10(value) - low) / (high - low)) * (to - from);
  const ticks: number[] = [];
  for (let power = Math.floor(low); power <= high; power++) {
    for (const step of [1, 2, 5]) {
      const tick = Number((step * 10 ** power).toPrecision(1));
      if (Math.log10(tick) >= low && Math.log10(tick) <= high) ticks.push(tick);
    }
  }
  return { at, ticks };
}

function line(x1: number, y1: number, x2: number, y2: number): string {
  const [a, b, c, d] = [x1, y1, x2, y2].map((value) => value.toFixed(1));
  return `<line x1="${a}" y1="${b}" x2="${c}" y2="${d}" stroke="#ddd"/>`;
}

function text(x: number, y: number, content: string, anchor: 'start' | 'middle' | 'end'): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${content}</text>`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const rows = JSON.parse(readFileSync(process.argv[2] ?? '/dev/stdin', 'utf8')) as Row[];
  process.stdout.write(chart(pointsOf(rows)));
}
