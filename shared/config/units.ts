/** Durations and sizes as people write them ("25ms", "256MiB"), and back again. */

import { RomulusError } from '../errors.ts';

const durationUnitsMs: Record<string, number> = { us: 0.001, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const sizeUnitsBytes: Record<string, number> = {
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
};

/** "25ms", "1.5s", "2m" -> milliseconds, greater than 0. A bare number is refused: it would leave the unit to guessing. */
export function parseDurationMs(text: string): number {
  const durationMs = parseWithUnit(text, durationUnitsMs);
  if (durationMs === undefined || durationMs <= 0) {
    throw new RomulusError('USAGE', `"${text}" is not a duration`, {
      hint: 'write a number above 0 and one of us, ms, s, m, h: 25ms',
    });
  }
  return durationMs;
}

/** "256MiB", "4GiB", "4096B" -> whole bytes (rounded), greater than 0. */
export function parseSizeBytes(text: string): number {
  const sizeBytes = Math.round(parseWithUnit(text, sizeUnitsBytes) ?? 0);
  if (sizeBytes <= 0 || !Number.isSafeInteger(sizeBytes)) {
    throw new RomulusError('USAGE', `"${text}" is not a size`, {
      hint: 'write a number above 0 and one of B, KiB, MiB, GiB, TiB: 256MiB',
    });
  }
  return sizeBytes;
}

function parseWithUnit(text: string, units: Record<string, number>): number | undefined {
  const match = /^(\d{1,15}(?:\.\d{1,9})?)\s?([A-Za-z]+)$/.exec(text.trim());
  if (!match || !Object.hasOwn(units, match[2] as string)) return undefined;
  return Number(match[1]) * (units[match[2] as string] as number);
}

/** "full", "none", or a share: how much of a guest's memory is kept as shadow copy, 0 to 1. */
export function parseShadowShare(text: string): number {
  if (text === 'full') return 1;
  return text === 'none' ? 0 : parseShare(text);
}

/** "25%", "12.5 %" -> 0.25, 0.125; from 0 to 100 %. */
export function parseShare(text: string): number {
  const match = /^(\d{1,3}(?:\.\d{1,3})?)\s?%$/.exec(text.trim());
  const share = Number(match?.[1] ?? Number.NaN) / 100;
  if (!(share >= 0 && share <= 1)) {
    throw new RomulusError('USAGE', `"${text}" is not a share`, {
      hint: 'write a percentage from 0% to 100%: 25%',
    });
  }
  return share;
}

/** 268435456 -> "256MiB", 1500 -> "1.46KiB"; three significant digits, for people. */
export function formatBytes(bytes: number): string {
  for (const unit of ['TiB', 'GiB', 'MiB', 'KiB']) {
    const size = sizeUnitsBytes[unit] as number;
    if (bytes >= size) return `${threeDigits(bytes / size)}${unit}`;
  }
  return `${Math.round(bytes)}B`;
}

/** 25 -> "25ms", 0.35 -> "350us", 61000 -> "1.02m"; three significant digits, for people. */
export function formatMs(ms: number): string {
  for (const unit of ['h', 'm', 's', 'ms']) {
    const size = durationUnitsMs[unit] as number;
    if (ms >= size) return `${threeDigits(ms / size)}${unit}`;
  }
  return ms === 0 ? '0ms' : `${threeDigits(ms * 1000)}us`;
}

function threeDigits(value: number): string {
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}
