/** The shape of agent.yaml: strict objects, units in strings, names and limits checked, no defaults hidden elsewhere. */

import { availableParallelism, hostname } from 'node:os';
import * as v from 'valibot';
import { asRomulusError } from '../errors.ts';
import { MAX_ADDRESSES, MAX_NAME_LENGTH, MAX_NETWORKS, MAX_RAM_BYTES, MAX_WINDOW_EPOCHS } from '../limits.ts';
import { isAddress, isInterfaceName, isMac } from '../net/names.ts';
import { PAGE_BYTES } from '../vm.ts';
import { parseEndpoint } from './endpoint.ts';
import { parseDurationMs, parseShadowShare, parseShare, parseSizeBytes } from './units.ts';

/** Shortest epoch that can be asked for; the pause alone takes some 2.5 ms. */
export const MIN_EPOCH_MS = 5;
export const MAX_EPOCH_MS = 60_000;
export const MAX_CPUS = 512;
export const MAX_THREADS = 256;
/** Lowest priority of a VM when a whole host moves; 1 moves first. */
const MAX_PRIORITY = 1000;
/** Jobs an agent carries out at once. */
const MAX_CONCURRENT_JOBS = 256;

const Text = v.pipe(v.string(), v.nonEmpty('must not be empty'));

/** Names end up in file names, socket names and certificates. */
export const NameSchema = v.pipe(
  v.string(),
  v.maxLength(MAX_NAME_LENGTH, `must have at most ${MAX_NAME_LENGTH} characters`),
  v.regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'must consist of letters, digits, ".", "_" and "-"'),
);

const Duration = v.pipe(
  v.string('must be a duration in quotes or with a unit, like 25ms'),
  parsed(parseDurationMs),
);
const Size = v.pipe(v.string('must be a size with a unit, like 256MiB'), parsed(parseSizeBytes));

/** Runs one of the unit parsers and turns what it throws into an issue of the schema. */
function parsed(parse: (text: string) => number) {
  return v.rawTransform<string, number>(({ dataset, addIssue, NEVER }) => {
    try {
      return parse(dataset.value);
    } catch (thrown) {
      const { message, hint } = asRomulusError(thrown);
      addIssue({ message: `${message}; ${hint}` });
      return NEVER;
    }
  });
}

const EndpointSchema = v.pipe(
  v.string(),
  v.transform(parseEndpoint),
  v.check((endpoint) => endpoint !== undefined, 'must be host:port, like 127.0.0.1:7400'),
  v.transform((endpoint) => endpoint as NonNullable<typeof endpoint>),
);

const EpochDuration = v.pipe(
  Duration,
  v.minValue(MIN_EPOCH_MS, `must be at least ${MIN_EPOCH_MS}ms`),
  v.maxValue(MAX_EPOCH_MS, `must be at most ${MAX_EPOCH_MS}ms`),
);

/** One length, or two between which the pacer chooses. */
const Epoch = v.lazy((input) =>
  typeof input === 'object' && input !== null
    ? v.pipe(
        v.strictObject({ min: EpochDuration, max: EpochDuration }),
        v.check(({ min, max }) => min <= max, '"min" must not be longer than "max"'),
      )
    : v.pipe(
        EpochDuration,
        v.transform((ms) => ({ min: ms, max: ms })),
      ),
);

const Share = v.pipe(v.string('must be a percentage, like 25%'), parsed(parseShare));

const PauseShare = v.pipe(
  Share,
  v.minValue(0.001, 'must be at least 0.1%'),
  v.maxValue(0.5, 'must be at most 50%'),
);

/** How much of the guest's memory the primary keeps a copy of. */
const ShadowShare = v.pipe(
  v.string('must be full, none, or a percentage, like 25%'),
  parsed(parseShadowShare),
);

const wholeNumber = (max: number) =>
  v.pipe(
    v.number(),
    v.integer('must be a whole number'),
    v.minValue(1, 'must be at least 1'),
    v.maxValue(max, `must be at most ${max}`),
  );

export const NetworkSchema = v.strictObject({
  tap: v.pipe(
    v.string(),
    v.check((text: string) => isInterfaceName(text), 'must be the name of a network interface, like tap0'),
  ),
  bridge: v.optional(
    v.pipe(
      v.string(),
      v.check((text: string) => isInterfaceName(text), 'must be the name of a bridge, like br0'),
    ),
  ),
  mac: v.pipe(
    v.string(),
    v.toLowerCase(),
    v.check((text: string) => isMac(text), 'must be the MAC of one device, like 52:54:00:12:34:56'),
  ),
  addresses: v.optional(
    v.pipe(
      v.array(
        v.pipe(
          v.string(),
          v.check((text: string) => isAddress(text), 'must be an IPv4 or IPv6 address'),
        ),
      ),
      v.maxLength(MAX_ADDRESSES),
    ),
  ),
});

/** What is done when the guest ended by itself: nothing, or the backup goes on from the last acknowledged epoch. */
const EndPolicy = v.picklist(['end', 'failover']);

export const VmSchema = v.strictObject({
  hypervisor: v.optional(v.picklist(['qemu', 'xen', 'replay']), 'qemu'),
  memory: v.pipe(
    Size,
    v.multipleOf(PAGE_BYTES, 'must be a multiple of 4KiB'),
    v.maxValue(MAX_RAM_BYTES, 'must be at most 8TiB'),
  ),
  cpus: v.optional(wholeNumber(MAX_CPUS), 1),
  kernel: v.optional(Text),
  initrd: v.optional(Text),
  append: v.optional(v.string()),
  disk: v.optional(Text),
  diskCopyRate: v.optional(v.pipe(Size, v.minValue(1024 * 1024, 'must be at least 1MiB')), '128MiB'),
  networks: v.optional(v.pipe(v.array(NetworkSchema), v.maxLength(MAX_NETWORKS))),
  machine: v.optional(Text),
  extraArgs: v.optional(v.array(v.string())),
  serialLog: v.optional(Text),
  attachQmp: v.optional(Text),
  epoch: v.optional(Epoch, '25ms'),
  epochMax: v.optional(EpochDuration),
  pauseShare: v.optional(PauseShare, '10%'),
  commitMax: v.optional(Duration),
  shadow: v.optional(ShadowShare, 'full'),
  window: v.optional(wholeNumber(MAX_WINDOW_EPOCHS), 8),
  priority: v.optional(wholeNumber(MAX_PRIORITY)),
  failover: v.optional(v.picklist(['auto', 'manual'])),
  onBackupLoss: v.optional(v.picklist(['solo', 'freeze', 'hold'])),
  onGuestEnd: v.optional(
    v.strictObject({ panicked: v.optional(EndPolicy, 'end'), gone: v.optional(EndPolicy) }),
  ),
});

export const TlsSchema = v.strictObject({ ca: Text, cert: Text, key: Text });
const RedisUrl = v.pipe(Text, v.regex(/^rediss?:\/\//, 'must be a redis:// or rediss:// URL'));
const queueEntries = {
  url: v.optional(RedisUrl),
  socket: v.optional(Text),
  concurrency: v.optional(wholeNumber(MAX_CONCURRENT_JOBS), 8),
};
/** Redis for operators' jobs, by URL or unix socket. */
export const QueueSchema = v.pipe(
  v.strictObject(queueEntries),
  v.check(
    ({ url, socket }) => (url === undefined) !== (socket === undefined),
    'must have either "url" or "socket"',
  ),
);
export const MetricsSchema = v.strictObject({ listen: EndpointSchema, tokenFile: Text });
/** A command line that ends with 0 only if this peer's host, or its guests, are surely dead. */
const FenceCommand = v.pipe(v.array(Text), v.minLength(1, 'must name a command'));
export const PeerSchema = v.strictObject({
  address: EndpointSchema,
  fence: v.optional(FenceCommand),
  fenceTimeout: v.optional(Duration, '30s'),
});
/** The kernel's watchdog, for VMs whose output bypasses the gate; its own time is taken unless given. */
export const WatchdogSchema = v.strictObject({
  device: v.optional(Text, '/dev/watchdog'),
  timeout: v.optional(Duration),
});
const witnessEntries = {
  url: v.optional(RedisUrl),
  socket: v.optional(Text),
  timeout: v.optional(v.pipe(Duration, v.minValue(20, 'must be at least 20ms')), '250ms'),
};
/** Where the witness register is, by URL or unix socket. */
export const WitnessSchema = v.pipe(
  v.strictObject(witnessEntries),
  v.check(
    ({ url, socket }) => (url === undefined) !== (socket === undefined),
    'must have either "url" or "socket"',
  ),
);

/** A map from names to entries; valibot alone would take a list for one, with names 0, 1, 2. */
function named<T extends v.GenericSchema>(entry: T) {
  return v.pipe(
    v.any(),
    v.check((value) => !Array.isArray(value), 'must be a map from names to entries, not a list'),
    v.record(NameSchema, entry),
  );
}

export const AgentSchema = v.strictObject({
  node: v.optional(NameSchema, () => hostname().slice(0, MAX_NAME_LENGTH)),
  dataDir: v.optional(Text, '/var/lib/romulus'),
  imageDir: v.optional(Text, '/dev/shm/romulus'),
  runDir: v.optional(Text, '/run/romulus'),
  listen: v.optional(EndpointSchema, '127.0.0.1:7400'),
  api: v.optional(Text),
  silence: v.optional(v.pipe(Duration, v.minValue(100, 'must be at least 100ms')), '1s'),
  tls: v.optional(TlsSchema),
  peers: v.optional(named(PeerSchema), {}),
  witness: v.optional(WitnessSchema),
  queue: v.optional(QueueSchema),
  metrics: v.optional(MetricsSchema),
  watchdog: v.optional(WatchdogSchema),
  threads: v.optional(wholeNumber(MAX_THREADS), () => Math.min(availableParallelism(), 8)),
  vms: v.optional(named(VmSchema), {}),
});

/** Keys allowed where `path` (of an unknown key) points, for "did you mean". */
export function knownKeys(path: readonly string[]): string[] {
  if (path.length === 1) return Object.keys(AgentSchema.entries);
  if (path[0] === 'tls') return Object.keys(TlsSchema.entries);
  if (path[0] === 'peers') return Object.keys(PeerSchema.entries);
  if (path[0] === 'witness') return Object.keys(witnessEntries);
  if (path[0] === 'queue') return Object.keys(queueEntries);
  if (path[0] === 'metrics') return Object.keys(MetricsSchema.entries);
  if (path[0] === 'watchdog') return Object.keys(WatchdogSchema.entries);
  if (path[2] === 'networks') return Object.keys(NetworkSchema.entries);
  return Object.keys(VmSchema.entries);
}
