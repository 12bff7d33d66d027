/** YAML text to a checked AgentConfig; every error names file, line and key. */

import { dirname, isAbsolute, join, resolve } from 'node:path';
import * as v from 'valibot';
import { type Document, isNode, LineCounter, parseDocument } from 'yaml';
import { RomulusError } from '../errors.ts';
import type { VmSpec } from '../vm.ts';
import { type Endpoint, formatEndpoint, isLoopback } from './endpoint.ts';
import { nearest } from './nearest.ts';
import {
  AgentSchema,
  knownKeys,
  type PeerSchema,
  type QueueSchema,
  type WatchdogSchema,
  type WitnessSchema,
} from './schema.ts';

/** Bytes of a config file, at most. */
export const MAX_CONFIG_BYTES = 1024 * 1024;

/** Longest path of a unix socket the kernel takes (sun_path without its final NUL). */
const MAX_SOCKET_PATH_BYTES = 107;

export interface TlsFiles {
  ca: string;
  cert: string;
  key: string;
}

/** Address of the witness register's Redis. */
export interface WitnessConfig {
  /** May hold a password: never logged. */
  url?: string;
  socket?: string;
  timeoutMs: number;
}

/** Redis of the operators' jobs, by one of the two. */
export interface QueueConfig {
  /** May hold a password: never logged. */
  url?: string;
  socket?: string;
  /** Jobs carried out at once. */
  concurrency: number;
}

/** A port for Prometheus, whose scrapes show the token in the file. */
export interface MetricsConfig {
  listen: Endpoint;
  tokenFile: string;
}

/** What resets this host when the agent no longer feeds it. */
export interface WatchdogConfig {
  device: string;
  /** The device's own where not given. */
  timeoutMs?: number;
}

/** A node this one speaks to. */
export interface PeerConfig {
  address: Endpoint;
  /** Ends with 0 only if this peer's guests are surely dead. */
  fence?: { command: string[]; timeoutMs: number };
}

/** What is done when a guest ends by itself, by how it ended; a shutdown always ends protection. */
export interface GuestEndPolicy {
  panicked: 'end' | 'failover';
  /** Its hypervisor died, or was killed. */
  gone: 'end' | 'failover';
}

/** One guest of the config file: what to run, and how to checkpoint it. */
export interface VmConfig {
  spec: VmSpec;
  /** Shortest and longest epoch; the pacer chooses between them, and keeps to one length where they are equal. */
  epochMs: number;
  epochMaxMs: number;
  /** Share of time the guest may stand still, and longest a commit should take: what the pacer goes by. */
  pauseShare: number;
  commitMaxMs?: number;
  /** Share of the guest's memory that the primary keeps a copy of, 0 to 1. */
  shadowShare: number;
  /** Bound of the copy of a disk beside its running guest, in bytes a second. */
  diskCopyBytesPerS: number;
  /** Epochs sent and not yet acknowledged, at most. */
  windowEpochs: number;
  /** 1 moves first when a whole host does. */
  priority?: number;
  failover: 'auto' | 'manual';
  onBackupLoss: 'solo' | 'freeze' | 'hold';
  onGuestEnd: GuestEndPolicy;
}

/** Everything an agent needs to know, paths absolute, units resolved. */
export interface AgentConfig {
  node: string;
  dataDir: string;
  imageDir: string;
  runDir: string;
  listen: Endpoint;
  /** Unix socket of the local API. */
  api: string;
  /** A peer not heard for this long counts as lost. */
  silenceMs: number;
  tls?: TlsFiles;
  peers: Record<string, PeerConfig>;
  /** Without one, failover is by hand only. */
  witness?: WitnessConfig;
  /** Without it, orders come by command and API only. */
  queue?: QueueConfig;
  metrics?: MetricsConfig;
  /** Without it, only a peer's fence command proves this host dead. */
  watchdog?: WatchdogConfig;
  threads: number;
  vms: Record<string, VmConfig>;
}

/** `origin` is the file's path (relative paths in it are taken from there) or a word like "defaults". */
export function parseConfig(text: string, origin: string): AgentConfig {
  if (Buffer.byteLength(text) > MAX_CONFIG_BYTES) throw invalid(origin, 'is larger than 1 MiB');
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const broken = document.errors[0];
  if (broken)
    throw invalid(`${origin}:${broken.linePos?.[0].line ?? 1}`, broken.message.split('\n')[0] ?? '');
  const result = v.safeParse(AgentSchema, plainData(document, origin) ?? {});
  if (!result.success) {
    // A mistyped key is the cause of the missing one beside it, so it is named first.
    const issue = result.issues.find(isUnknownKey) ?? result.issues[0];
    throw fromIssue(issue, document, lines, origin);
  }
  return checked(resolved(result.output, origin), origin);
}

/** Aliases are looked up only here: one that leads nowhere, or multiplies, is found out late. */
function plainData(document: Document, origin: string): unknown {
  try {
    return document.toJS();
  } catch (thrown) {
    throw invalid(origin, thrown instanceof Error ? thrown.message : String(thrown));
  }
}

function isUnknownKey(issue: v.BaseIssue<unknown>): boolean {
  return issue.type === 'strict_object' && issue.expected === 'never';
}

function fromIssue(
  issue: v.BaseIssue<unknown>,
  document: Document,
  lines: LineCounter,
  origin: string,
): RomulusError {
  const path = (issue.path ?? []).map((item) => String(item.key));
  const key = path.join('.');
  const place = `${origin}${lineOf(path, document, lines)}`;
  if (isUnknownKey(issue)) {
    const near = nearest(path.at(-1) ?? '', knownKeys(path));
    return invalid(place, `unknown key "${key}"${near === undefined ? '' : `; did you mean "${near}"?`}`);
  }
  if (issue.kind === 'schema' && issue.received === 'undefined') return invalid(place, `"${key}" is missing`);
  const said = issue.message.startsWith('Invalid ')
    ? `must be ${issue.expected ?? 'something else'}, not ${issue.received}`
    : issue.message;
  return invalid(place, key === '' ? said : `"${key}" ${said}`);
}

/** ":7", the line where the value (or the nearest thing around it) stands; '' when there is none. */
function lineOf(path: string[], document: Document, lines: LineCounter): string {
  for (let length = path.length; length > 0; length -= 1) {
    const node = document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return `:${lines.linePos(node.range[0]).line}`;
  }
  return '';
}

function resolved(raw: v.InferOutput<typeof AgentSchema>, origin: string): AgentConfig {
  const base = isAbsolute(origin) ? dirname(origin) : process.cwd();
  const at = (path: string) => resolve(base, path);
  const runDir = at(raw.runDir);
  return {
    node: raw.node,
    dataDir: at(raw.dataDir),
    imageDir: at(raw.imageDir),
    runDir,
    listen: raw.listen,
    api: raw.api === undefined ? join(runDir, 'agent.sock') : at(raw.api),
    silenceMs: raw.silence,
    ...(raw.tls && { tls: { ca: at(raw.tls.ca), cert: at(raw.tls.cert), key: at(raw.tls.key) } }),
    peers: Object.fromEntries(Object.entries(raw.peers).map(([name, peer]) => [name, peerOf(peer)])),
    ...(raw.witness && { witness: witnessOf(raw.witness, at) }),
    ...(raw.queue && { queue: queueAt(raw.queue, at) }),
    ...(raw.metrics && { metrics: { ...raw.metrics, tokenFile: at(raw.metrics.tokenFile) } }),
    ...(raw.watchdog && { watchdog: watchdogOf(raw.watchdog) }),
    threads: raw.threads,
    vms: Object.fromEntries(
      Object.entries(raw.vms).map(([name, vm]) => {
        const { memory, epoch, epochMax, window, pauseShare, commitMax, shadow, ...described } = vm;
        const { diskCopyRate, priority, failover, onBackupLoss, onGuestEnd, ...rest } = described;
        const spec = { name, memoryBytes: memory, ...rest } as VmSpec;
        for (const key of ['kernel', 'initrd', 'disk', 'serialLog', 'attachQmp'] as const) {
          if (spec[key] !== undefined) spec[key] = at(spec[key]);
        }
        const automatic = (failover ?? (raw.witness ? 'auto' : 'manual')) === 'auto';
        const vmConfig: VmConfig = {
          spec,
          epochMs: epoch.min,
          epochMaxMs: Math.max(epochMax ?? epoch.max, epoch.min),
          pauseShare,
          ...(commitMax !== undefined && { commitMaxMs: commitMax }),
          shadowShare: shadow,
          diskCopyBytesPerS: diskCopyRate,
          windowEpochs: window,
          ...(priority !== undefined && { priority }),
          failover: automatic ? 'auto' : 'manual',
          // Without a witness a primary that serves alone could not be told from one that is dead.
          onBackupLoss: onBackupLoss ?? (raw.witness ? 'solo' : 'hold'),
          onGuestEnd: {
            panicked: onGuestEnd?.panicked ?? 'end',
            gone: onGuestEnd?.gone ?? (automatic ? 'failover' : 'end'),
          },
        };
        return [name, vmConfig];
      }),
    ),
  };
}

function peerOf(raw: v.InferOutput<typeof PeerSchema>): PeerConfig {
  const { address, fence, fenceTimeout } = raw;
  return { address, ...(fence && { fence: { command: fence, timeoutMs: fenceTimeout } }) };
}

function queueAt(
  { url, socket, concurrency }: v.InferOutput<typeof QueueSchema>,
  at: (path: string) => string,
): QueueConfig {
  return { ...(url && { url }), ...(socket && { socket: at(socket) }), concurrency };
}

function witnessOf(raw: v.InferOutput<typeof WitnessSchema>, at: (path: string) => string): WitnessConfig {
  const { url, socket, timeout } = raw;
  return { ...(url && { url }), ...(socket && { socket: at(socket) }), timeoutMs: timeout };
}

function watchdogOf({ device, timeout }: v.InferOutput<typeof WatchdogSchema>): WatchdogConfig {
  return { device, ...(timeout !== undefined && { timeoutMs: timeout }) };
}

/** What no single key can tell. */
function checked(config: AgentConfig, origin: string): AgentConfig {
  if (Buffer.byteLength(config.api) > MAX_SOCKET_PATH_BYTES) {
    throw invalid(
      origin,
      `"api" is longer than the ${MAX_SOCKET_PATH_BYTES} bytes a unix socket path may have`,
    );
  }
  if (Object.hasOwn(config.peers, config.node)) {
    throw invalid(origin, `"peers" names this node itself, ${config.node}`);
  }
  for (const [name, vm] of Object.entries(config.vms)) {
    if (vm.failover === 'auto' && config.witness === undefined) {
      throw invalid(origin, `"vms.${name}.failover" is auto, which needs a "witness"`);
    }
  }
  if (config.tls) return config;
  const open: [string, Endpoint][] = [
    ['listen', config.listen],
    ...(config.metrics ? [['metrics.listen', config.metrics.listen] as [string, Endpoint]] : []),
    ...Object.entries(config.peers).map(([name, peer]): [string, Endpoint] => [
      `peers.${name}`,
      peer.address,
    ]),
  ];
  for (const [key, endpoint] of open) {
    if (!isLoopback(endpoint.host)) {
      throw new RomulusError(
        'TLS_REQUIRED',
        `${origin}: "${key}" is ${formatEndpoint(endpoint)}, off loopback, and there is no "tls"`,
        { hint: `romulus certs /etc/romulus/pki --node ${config.node} --address ${endpoint.host}` },
      );
    }
  }
  return config;
}

function invalid(place: string, message: string): RomulusError {
  const file = place.replace(/:\d+$/, '');
  return new RomulusError('CONFIG_INVALID', `${place}: ${message}`, {
    hint: isAbsolute(file) ? `romulus config check --config ${file}` : 'see docs/cli.md, "Config file"',
  });
}
