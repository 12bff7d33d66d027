/** Checks of the machine: Node, engine, kernel features, KVM, clock. */

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { engine } from '../../native/index.ts';
import { watchdogTimes } from '../../primary/watchdog.ts';
import type { WatchdogConfig } from '../../shared/config.ts';
import { asRomulusError } from '../../shared/errors.ts';
import { kvmMissing } from '../../shared/hypervisor/kvm.ts';
import { compareVersions } from '../prerequisites.mjs';
import { type Finding, finding } from './finding.ts';

const MIN_NODE = '20.17';
const MIN_KERNEL = '6.7';

export function checkNode(): Finding {
  const found = process.versions.node;
  const verdict = compareVersions(found, MIN_NODE) >= 0 ? 'ok' : 'missing';
  const fix = 'see https://nodejs.org/en/download';
  return finding('node', 'Node.js', verdict, { found, needed: `>= ${MIN_NODE}`, fix });
}

export function checkEngine(): Finding {
  const texts = { needed: 'built', fix: 'npm ci' };
  try {
    const { arch, kernels } = engine().cpu();
    const found = `${arch}, ${[...new Set(Object.values(kernels))].join('/')}`;
    return finding('engine', 'native engine', 'ok', { ...texts, found });
  } catch (thrown) {
    const { code, message } = thrown as NodeJS.ErrnoException;
    // A build for another Node or machine fails in dlopen, which says so; anything before that is no build at all.
    const found = code === 'ERR_DLOPEN_FAILED' ? (message.split('\n')[0] ?? code) : 'not built';
    return finding('engine', 'native engine', 'missing', { ...texts, found });
  }
}

/** Without PAGEMAP_SCAN Romulus still works, comparing every page each epoch. */
export function checkDirtyTracking(): Finding {
  let supported: boolean;
  try {
    supported = engine().pagemapScanSupported();
  } catch {
    supported = compareVersions(release(), MIN_KERNEL) >= 0;
  }
  return finding('pagemap-scan', 'dirty pages by PAGEMAP_SCAN', supported ? 'ok' : 'absent', {
    found: `Linux ${release()}`,
    needed: `>= ${MIN_KERNEL}; else every page is compared each epoch`,
    fix: 'apt-get install -y -t bookworm-backports linux-image-amd64 && reboot',
  });
}

/** QEMU registers its guest memory with userfaultfd, which takes root or a sysctl. */
export function checkUserfaultfd(): Finding {
  const sysctl = '/proc/sys/vm/unprivileged_userfaultfd';
  const root = process.getuid?.() === 0;
  const exists = existsSync(sysctl);
  const open = exists && readFileSync(sysctl, 'utf8').trim() === '1';
  return finding('userfaultfd', 'userfaultfd', exists && (root || open) ? 'ok' : 'absent', {
    found: exists ? (root ? 'root' : `unprivileged_userfaultfd=${open ? 1 : 0}`) : 'not in this kernel',
    needed: 'root or vm.unprivileged_userfaultfd=1; else every page is compared each epoch',
    fix: 'sudo sysctl -w vm.unprivileged_userfaultfd=1',
  });
}

/** Guests run without it too, some ten times slower. */
export function checkKvm(): Finding {
  const missing = kvmMissing();
  const fix = 'sudo usermod -aG kvm $USER (and log in again); a VM needs nested virtualisation';
  const verdict = missing === undefined ? 'ok' : 'info';
  return finding('kvm', 'KVM', verdict, {
    found: missing ?? 'usable',
    needed: 'optional: guests run faster',
    fix,
  });
}

/** Asked only of a host whose config counts on one. */
export function checkWatchdog(config: WatchdogConfig): Finding {
  const { device, timeoutMs } = config;
  const needed = timeoutMs === undefined ? 'its driver loaded' : `resets within ${timeoutMs / 1000} s`;
  try {
    const found = `resets within ${watchdogTimes(config).resetMs / 1000} s`;
    return finding('watchdog', device, 'ok', { found, needed, fix: '' });
  } catch (thrown) {
    const { message, hint = '' } = asRomulusError(thrown);
    return finding('watchdog', device, 'missing', { found: message, needed, fix: hint });
  }
}

/** Whether somebody keeps the wall clock right. No safety decision asks it; certificates and people who read logs do. */
export function checkClock(): Finding {
  const { stdout, status } = spawnSync('timedatectl', ['show', '-p', 'NTPSynchronized', '--value'], {
    encoding: 'utf8',
    timeout: 5000,
  });
  const known = status === 0 ? stdout.trim() : '';
  const verdict = known === 'yes' ? 'ok' : known === 'no' ? 'absent' : 'info';
  return finding('clock', 'wall clock', verdict, {
    found: known === 'yes' ? 'synchronized' : known === 'no' ? 'not synchronized' : 'timedatectl cannot tell',
    needed: 'kept by NTP; for certificates and logs',
    fix: 'apt-get install -y chrony && systemctl enable --now chrony',
  });
}
