/** What the Xen addon's errors and a domain's shutdown reason mean for the protection of a guest. */

import type { XenDomainInfo } from '../../native/xen/index.ts';
import { RomulusError } from '../../shared/errors.ts';
import type { GuestState } from './source.ts';

/** Xen's SHUTDOWN_suspend: our own doing in the middle of an epoch. */
const SUSPENDED = 2;
/** SHUTDOWN_crash and SHUTDOWN_watchdog. */
const CRASHED = [3, 4];

/** `undefined`: Xen does not know the domain. A reboot, which a triple fault is to Xen, ends the guest like a power-off. */
export function guestStateOf(info: XenDomainInfo | undefined): GuestState {
  if (info === undefined) return 'gone';
  if (info.shutdown === null) return info.paused ? 'paused' : 'running';
  if (info.shutdown === SUSPENDED) return 'paused';
  return CRASHED.includes(info.shutdown) ? 'panicked' : 'shutdown';
}

/** For `.catch()`: turns an error of the addon into one that tells the operator what to do. */
export function xenFailure(name: string): (thrown: unknown) => never {
  return (thrown) => {
    if (thrown instanceof RomulusError) throw thrown;
    const { code, message } = thrown as { code?: string; message: string };
    const options = { cause: thrown, hint: `xl list ${name}` };
    switch (code) {
      case 'ESHUTDOWN':
      case 'ENOENT':
      case 'ESRCH':
        throw new RomulusError('HV_GUEST_GONE', `${name}: ${message}`, options);
      case 'ENOTSUP':
        throw new RomulusError('HV_UNSUPPORTED', `${name}: ${message}`, {
          ...options,
          hint: 'set type="pvh" in its configuration and start it anew',
        });
      case 'EACCES':
      case 'EPERM':
        throw new RomulusError('PREREQUISITE', `${name}: ${message}`, {
          ...options,
          hint: 'run the agent as root in dom0',
        });
      case 'EAGAIN':
        throw new RomulusError('HV_PROTOCOL', `${name}: ${message}`, {
          ...options,
          hint: `romulus protect ${name} again once its system is up`,
        });
      case 'ESTALE':
        throw new RomulusError('HV_PROTOCOL', `${name}: ${message}`, {
          ...options,
          hint: `romulus unprotect ${name}, then protect it again`,
        });
      case 'ETIMEDOUT':
        throw new RomulusError('HV_PROTOCOL', `${name}: ${message}`, {
          ...options,
          hint: `xenstore-read /local/domain/$(xl domid ${name})/control/feature-suspend`,
        });
      default:
        throw new RomulusError('HV_PROTOCOL', `${name}: ${message}`, options);
    }
  };
}
