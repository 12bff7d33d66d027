/** Xen's command line tool `xl`, for what is not on the path of an epoch. */

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { RomulusError } from '../errors.ts';

const run = promisify(execFile);
const MAX_OUTPUT_BYTES = 4 * 1024 * 1024;

/** Runs xl and returns its standard output; HV_PROTOCOL with xl's own words if it fails. */
export function xl(...args: string[]): Promise<string> {
  return xlWithin(0, ...args);
}

/** The same, ended after `timeoutMs`; 0: never. */
export async function xlWithin(timeoutMs: number, ...args: string[]): Promise<string> {
  try {
    return (await run('xl', args, { maxBuffer: MAX_OUTPUT_BYTES, timeout: timeoutMs })).stdout;
  } catch (cause) {
    const said = String((cause as { stderr?: string }).stderr ?? cause).trim();
    throw new RomulusError('HV_PROTOCOL', `xl ${args[0]}: ${said}`, { hint: 'xl info', cause });
  }
}

/** The number of the domain of that name, or undefined when this host runs none. */
export async function domainNumber(name: string): Promise<number | undefined> {
  try {
    return Number((await xl('domid', name)).trim());
  } catch (error) {
    if (error instanceof RomulusError && /domain does not exist/.test(error.message)) return undefined;
    throw error;
  }
}

/** libxl's own JSON configuration of a domain, as its save files carry it. */
export async function domainConfig(domid: number): Promise<string> {
  const [domain] = JSON.parse(await xl('list', '-l', String(domid))) as { config: unknown }[];
  if (domain === undefined) throw new RomulusError('VM_UNKNOWN', `no domain ${domid}`, { hint: 'xl list' });
  return JSON.stringify(domain.config);
}

export interface XenHostInfo {
  /** "4.17" */
  release: string;
  freeBytes: number;
  /** "hvm", "hap" and the like. */
  capabilities: string[];
}

/** What `xl info` printed, as far as we ask. */
export function parseHostInfo(text: string): XenHostInfo {
  const field = (name: string): string => new RegExp(`^${name} *: *(.*)$`, 'm').exec(text)?.[1] ?? '';
  return {
    release: `${field('xen_major')}.${field('xen_minor')}`,
    freeBytes: Number(field('free_memory')) * 1024 * 1024,
    capabilities: field('virt_caps').split(' '),
  };
}
