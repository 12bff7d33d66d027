/** Finds the config file: flag, then ROMULUS_CONFIG, then /etc/romulus/agent.yaml, then defaults alone. */

import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { RomulusError } from '../errors.ts';
import { type AgentConfig, MAX_CONFIG_BYTES, parseConfig } from './parse.ts';

export const DEFAULT_CONFIG_PATH = '/etc/romulus/agent.yaml';

/** The file that would be read, and whether somebody asked for it by name. */
export function configPath(flag?: string): { path: string; named: boolean } {
  const named = flag ?? (process.env.ROMULUS_CONFIG || undefined);
  return { path: resolve(named ?? DEFAULT_CONFIG_PATH), named: named !== undefined };
}

/** A file named by flag or environment must exist; the default one need not. */
export function loadConfig(flag?: string): AgentConfig {
  const { path, named } = configPath(flag);
  let text: string;
  try {
    if (statSync(path).size > MAX_CONFIG_BYTES) {
      throw new RomulusError('CONFIG_INVALID', `${path} is larger than 1 MiB`, {
        hint: 'name the right file: romulus --config FILE config check',
      });
    }
    text = readFileSync(path, 'utf8');
  } catch (thrown) {
    if (thrown instanceof RomulusError) throw thrown;
    const { code } = thrown as NodeJS.ErrnoException;
    if (!named && code === 'ENOENT') return parseConfig('', 'defaults');
    throw new RomulusError('CONFIG_INVALID', `${path} cannot be read (${code})`, {
      hint: 'name the right file: romulus --config FILE config check',
      cause: thrown,
    });
  }
  return parseConfig(text, path);
}
