// @ts-check
/**
 * The one table of system prerequisites: what, why, how it is checked, and the Debian package that brings it.
 * Plain JavaScript, because the launcher reads it before anything is installed.
 */

import { spawnSync } from 'node:child_process';

/** @typedef {'build' | 'demo' | 'agent' | 'test' | 'ci' | 'xen'} Purpose `xen`: the testbed of real Xen hosts */

/**
 * @typedef {object} Prerequisite
 * @property {string} id name in `doctor --json`; stable
 * @property {string} what what is needed, for people
 * @property {string} why what fails without it
 * @property {Purpose[]} purposes where it is needed
 * @property {string[]} command run to see whether it is there; exit 0 means yes
 * @property {RegExp} [version] finds the version in what the command prints
 * @property {string} [minimum] lowest version that will do
 * @property {string} [packageName] Debian package; without one, `apt-get update` is what mends it
 */

/** @type {readonly Prerequisite[]} */
export const prerequisites = [
  {
    id: 'cxx',
    what: 'C++20 compiler (g++)',
    why: 'builds the engine and the guest program of the demo',
    purposes: ['build', 'demo', 'test'],
    command: ['g++', '--version'],
    version: /(\d+\.\d+\.\d+)\s*$/m,
    minimum: '11',
    packageName: 'g++',
  },
  {
    id: 'make',
    what: 'make',
    why: 'builds the engine',
    purposes: ['build'],
    command: ['make', '--version'],
    version: /GNU Make (\S+)/,
    packageName: 'make',
  },
  {
    id: 'python3',
    what: 'Python 3',
    why: 'node-gyp, which builds the engine, is written in it',
    purposes: ['build'],
    command: ['python3', '--version'],
    version: /Python (\S+)/,
    packageName: 'python3',
  },
  {
    id: 'libzstd',
    what: 'zstd headers',
    why: 'the engine compresses with libzstd',
    purposes: ['build'],
    command: ['sh', '-c', 'test -e /usr/include/zstd.h'],
    packageName: 'libzstd-dev',
  },
  {
    id: 'qemu',
    what: 'QEMU for x86-64',
    why: 'runs the guests',
    purposes: ['demo', 'agent', 'test', 'xen'],
    command: ['qemu-system-x86_64', '--version'],
    version: /version (\d+\.\d+\.\d+)/,
    minimum: '7.2',
    packageName: 'qemu-system-x86',
  },
  {
    id: 'busybox',
    what: 'static busybox',
    why: "the demo guest's user space",
    purposes: ['demo', 'test'],
    command: ['sh', '-c', 'file=$(command -v busybox) && ! ldd "$file" >/dev/null 2>&1 && busybox'],
    version: /BusyBox v(\S+)/,
    packageName: 'busybox-static',
  },
  {
    id: 'cpio',
    what: 'cpio',
    why: 'packs the initramfs of guests',
    purposes: ['demo', 'test', 'xen'],
    command: ['cpio', '--version'],
    version: /cpio\D* (\d\S*)/,
    packageName: 'cpio',
  },
  {
    id: 'guest-kernel',
    what: "apt's package lists",
    why: "the demo guest boots Debian's cloud kernel, fetched by apt-get download",
    purposes: ['demo', 'test'],
    command: ['apt-cache', 'show', '--no-all-versions', 'linux-image-cloud-amd64'],
    version: /^Version: (\S+)/m,
  },
  {
    id: 'openssl',
    what: 'openssl',
    why: '`romulus certs` makes certificates with it',
    purposes: ['agent', 'test'],
    command: ['openssl', 'version'],
    version: /OpenSSL (\S+)/,
    minimum: '1.1.1',
    packageName: 'openssl',
  },
  {
    id: 'zstd',
    what: 'zstd',
    why: 'unpacks recorded traces',
    purposes: ['test'],
    command: ['zstd', '--version'],
    version: /v(\d+\.\d+\.\d+)/,
    packageName: 'zstd',
  },
  {
    id: 'redis',
    what: 'Redis server',
    why: 'runs inside the demo guest, and is the witness of automatic failover',
    purposes: ['demo', 'test'],
    command: ['redis-server', '--version'],
    version: /v=(\S+)/,
    minimum: '7.0',
    packageName: 'redis-server',
  },
  {
    id: 'iproute2',
    what: 'ip (iproute2)',
    why: "the demo client's network and the namespaces of the tests",
    purposes: ['demo', 'test'],
    command: ['ip', '-V'],
    version: /iproute2-([\w.]+)/,
    packageName: 'iproute2',
  },
  {
    id: 'nbd-client',
    what: 'nbd-client',
    why: "attaches the disk's server to the kernel's own NBD client, in the tests",
    purposes: ['test'],
    command: ['sh', '-c', 'command -v nbd-client || test -x /sbin/nbd-client'],
    packageName: 'nbd-client',
  },
  {
    id: 'nbd-clients',
    what: 'nbdinfo and nbdcopy',
    why: "judge the replicated disk's server",
    purposes: ['test'],
    command: ['nbdinfo', '--version'],
    version: /(\d+\.\d+\.\d+)/,
    packageName: 'libnbd-bin',
  },
  {
    id: 'qemu-utils',
    what: 'qemu-img and qemu-io',
    why: "judge the replicated disk's server",
    purposes: ['test'],
    command: ['qemu-io', '--version'],
    version: /version (\d+\.\d+\.\d+)/,
    packageName: 'qemu-utils',
  },
  {
    id: 'fio',
    what: 'fio',
    why: 'measures and checks the replicated disk',
    purposes: ['test'],
    command: ['fio', '--version'],
    version: /fio-(\d+\.\d+)/,
    packageName: 'fio',
  },
  {
    id: 'postgresql',
    what: 'PostgreSQL 15',
    why: 'the database in the guest whose host dies',
    purposes: ['test'],
    command: ['/usr/lib/postgresql/15/bin/postgres', '--version'],
    version: /(\d+\.\d+)/,
    packageName: 'postgresql-15',
  },
  {
    id: 'mke2fs',
    what: 'mke2fs',
    why: "makes the file system of the guest's database",
    purposes: ['test'],
    command: ['sh', '-c', 'mke2fs -V 2>&1'],
    version: /mke2fs (\d+\.\d+)/,
    packageName: 'e2fsprogs',
  },
  {
    id: 'spin',
    what: 'Spin',
    why: 'checks the model of the safety rules',
    purposes: ['test'],
    command: ['spin', '-V'],
    version: /Version (\S+)/,
    packageName: 'spin',
  },
  {
    id: 'libxen',
    what: 'Xen headers',
    why: "the Xen driver binds to Xen's libraries",
    purposes: ['xen'],
    command: ['sh', '-c', 'test -e /usr/include/xenctrl.h'],
    packageName: 'libxen-dev',
  },
  {
    id: 'mmdebstrap',
    what: 'mmdebstrap',
    why: "makes the root file system of the testbed's dom0",
    purposes: ['xen'],
    command: ['mmdebstrap', '--version'],
    version: /(\d\S*)/,
    packageName: 'mmdebstrap',
  },
  {
    id: 'e2fsprogs',
    what: 'mkfs.ext4',
    why: "makes the disk of the testbed's dom0",
    purposes: ['xen'],
    command: ['mkfs.ext4', '-V'],
    version: /mke2fs (\S+)/,
    packageName: 'e2fsprogs',
  },
];

/**
 * @typedef {object} Finding
 * @property {Prerequisite} prerequisite
 * @property {boolean} ok
 * @property {string} found version, 'yes', 'too old: ...' or 'missing'
 */

/** @param {Prerequisite} prerequisite @returns {Finding} */
export function check(prerequisite) {
  const [program = '', ...args] = prerequisite.command;
  const run = spawnSync(program, args, { encoding: 'utf8', timeout: 30_000 });
  if (run.error || run.status !== 0) return { prerequisite, ok: false, found: 'missing' };
  const version = prerequisite.version?.exec(`${run.stdout}${run.stderr}`)?.[1];
  const old = version && prerequisite.minimum && compareVersions(version, prerequisite.minimum) < 0;
  return { prerequisite, ok: !old, found: old ? `too old: ${version}` : (version ?? 'yes') };
}

/**
 * What is missing for these purposes, each named once.
 * @param {readonly Purpose[]} purposes
 */
export function missingFor(purposes) {
  return prerequisites
    .filter((entry) => entry.purposes.some((purpose) => purposes.includes(purpose)))
    .map(check)
    .filter((finding) => !finding.ok)
    .map((finding) => finding.prerequisite);
}

/**
 * The exact commands that mend this, as root on Debian, one argv each.
 * @param {readonly Prerequisite[]} missing
 */
export function mendingCommands(missing) {
  if (missing.length === 0) return [];
  const packages = [...new Set(missing.flatMap((entry) => entry.packageName ?? []))];
  const install = ['apt-get', 'install', '-y', '--no-install-recommends', ...packages];
  return [['apt-get', 'update'], ...(packages.length > 0 ? [install] : [])];
}

/** -1, 0 or 1 by the leading numbers. @param {string} a @param {string} b */
export function compareVersions(a, b) {
  const numbers = (/** @type {string} */ text) => (text.match(/\d+/g) ?? []).map(Number);
  const [left, right] = [numbers(a), numbers(b)];
  for (let i = 0; i < Math.max(left.length, right.length); i += 1) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return Math.sign(difference);
  }
  return 0;
}
