/** Parsers of option values for commander: what they refuse is a usage error, exit 2. */

import { InvalidArgumentError } from 'commander';
import { MAX_EPOCH_MS, MIN_EPOCH_MS } from '../shared/config/schema.ts';
import { parseShadowShare } from '../shared/config/units.ts';
import { parseDurationMs } from '../shared/config.ts';
import { asRomulusError } from '../shared/errors.ts';
import { MAX_WINDOW_EPOCHS } from '../shared/limits.ts';

/** "25ms" -> 25, within what an epoch may be. */
export function epochArgument(text: string): number {
  let durationMs: number;
  try {
    durationMs = parseDurationMs(text);
  } catch (thrown) {
    const { message, hint } = asRomulusError(thrown);
    throw new InvalidArgumentError(`${message}; ${hint}`);
  }
  if (durationMs < MIN_EPOCH_MS || durationMs > MAX_EPOCH_MS) {
    throw new InvalidArgumentError(`an epoch lasts ${MIN_EPOCH_MS}ms to ${MAX_EPOCH_MS}ms`);
  }
  return durationMs;
}

export function windowArgument(text: string): number {
  const epochs = Number(text);
  if (!Number.isInteger(epochs) || epochs < 1 || epochs > MAX_WINDOW_EPOCHS) {
    throw new InvalidArgumentError(`the window is 1 to ${MAX_WINDOW_EPOCHS} epochs`);
  }
  return epochs;
}

/** A whole number from 1 on. */
export function countArgument(text: string): number {
  const count = Number(text);
  if (!Number.isSafeInteger(count) || count < 1) throw new InvalidArgumentError('a whole number from 1 on');
  return count;
}

/** "100M", "1G", "2.5G": bits per second, as links are named. */
export function linkArgument(text: string): number {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)([MG])$/.exec(text) ?? [];
  const bits = Number(digits) * (unit === 'G' ? 1e9 : 1e6);
  if (!(bits >= 1e6)) throw new InvalidArgumentError('a rate like 100M or 10G (bits per second)');
  return bits;
}

/** "25%", "full", "none" -> 0.25, 1, 0. */
export function shadowArgument(text: string): number {
  try {
    return parseShadowShare(text);
  } catch (thrown) {
    const { message, hint } = asRomulusError(thrown);
    throw new InvalidArgumentError(`${message}; ${hint}`);
  }
}

/** For options that may be given several times. */
export function collect(value: string, before: string[]): string[] {
  return [...before, value];
}
