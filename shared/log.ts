/** Logs go to stderr as JSON lines, so that stdout belongs to results. */

import { type Logger, pino } from 'pino';

export type { Logger };

export const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

/** Written synchronously: the last line before a kill -9 is the one wanted most. */
export function createLog(name: string, level: LogLevel = 'info'): Logger {
  return pino({ name, level, base: { name, pid: process.pid } }, pino.destination({ dest: 2, sync: true }));
}
