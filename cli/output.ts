/** What a verb prints: one JSON document, or text for people; colour only on a terminal that wants it. */

import { stripVTControlCharacters } from 'node:util';
import { asRomulusError, type ExitCodeValue } from '../shared/errors.ts';
import type { ApiErrorBody } from '../shared/status.ts';

export type Colour = 'green' | 'yellow' | 'red' | 'dim' | 'bold';

const codes: Record<Colour, [number, number]> = {
  green: [32, 39],
  yellow: [33, 39],
  red: [31, 39],
  dim: [2, 22],
  bold: [1, 22],
};

/** https://no-color.org: any value that is not empty turns colour off. */
export function wantsColour(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv = process.env): boolean {
  return Boolean(stream.isTTY) && !env.NO_COLOR && env.TERM !== 'dumb';
}

export class Output {
  readonly json: boolean;
  readonly colour: boolean;

  constructor(options: { json: boolean; colour: boolean }) {
    this.json = options.json;
    this.colour = options.colour && !options.json;
  }

  /** The result of a verb, on stdout; `text` is built only when people read it. */
  result(value: unknown, text: () => string): void {
    process.stdout.write(`${this.json ? JSON.stringify(value) : text()}\n`);
  }

  /** Progress on stderr: one rewritten line on a terminal, nothing elsewhere. */
  progress(line: string): void {
    if (process.stderr.isTTY && !this.json) process.stderr.write(`\r\x1b[2K${line}`);
  }

  endProgress(): void {
    if (process.stderr.isTTY && !this.json) process.stderr.write('\r\x1b[2K');
  }

  paint(colour: Colour, text: string): string {
    if (!this.colour) return text;
    const [on, off] = codes[colour];
    return `\x1b[${on}m${text}\x1b[${off}m`;
  }

  /** Any failure: `error:` and `try:` on stderr, with --json also a document on stdout. Returns the exit code. */
  failure(thrown: unknown): ExitCodeValue {
    const error = asRomulusError(thrown);
    const body: ApiErrorBody = { error: error.toJSON() };
    if (this.json) process.stdout.write(`${JSON.stringify(body)}\n`);
    process.stderr.write(`error: ${error.message}\n`);
    if (error.hint !== undefined) process.stderr.write(`try: ${error.hint}\n`);
    if (error.code === 'INTERNAL' && error.cause instanceof Error)
      process.stderr.write(`${error.cause.stack}\n`);
    return error.exitCode;
  }
}

/** Rows to columns two spaces apart; widths count what is seen, not the colour codes. */
export function table(rows: string[][]): string {
  const seen = (cell: string) => stripVTControlCharacters(cell).length;
  const widths = Array.from({ length: Math.max(0, ...rows.map((row) => row.length)) }, (_, column) =>
    Math.max(...rows.map((row) => seen(row[column] ?? ''))),
  );
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          column === row.length - 1 ? cell : cell + ' '.repeat((widths[column] ?? 0) - seen(cell)),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
