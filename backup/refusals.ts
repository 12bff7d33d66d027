/** What a backup answers where it does not take a primary's or an operator's word, each with the next command to run. */

import { RomulusError } from '../shared/errors.ts';

export function noWitnessHere(node: string, vm: string): RomulusError {
  return new RomulusError('CONFIG_INVALID', `${node} asks a witness about ${vm}, this host has none`, {
    hint: 'set the same `witness:` in the config of both hosts',
  });
}

export function noDiskHere(vm: string): RomulusError {
  const message = `the primary replicates the disk of ${vm}, and this host has none for it`;
  return new RomulusError('WIRE_GEOMETRY', message, {
    hint: `name an image under vms.${vm}.disk in agent.yaml`,
  });
}

/** `promoted`: the guest runs here. */
export function staleTerm(vm: string, term: number, promoted: boolean): RomulusError {
  return new RomulusError('TERM_STALE', `${vm} is in term ${term} here`, {
    hint: `the guest runs on ${promoted ? 'this backup' : 'another host'}; on the old primary: romulus status ${vm}`,
  });
}

export function claimUnderWay(vm: string): RomulusError {
  return new RomulusError('VM_BUSY', `a claim to ${vm} is being decided here`, {
    hint: `romulus status ${vm}`,
  });
}

export function notActive(vm: string, state: string): RomulusError {
  return new RomulusError('VM_BUSY', `${vm} is ${state} here`, { hint: `romulus status ${vm}` });
}

export function promotedGuestEnded(runDir: string): RomulusError {
  return new RomulusError('HV_GUEST_GONE', 'the promoted guest no longer runs', {
    hint: `see the hypervisor's log in ${runDir}`,
  });
}

/** `why`: what keeps it from being promoted, where that is known. */
export function notPromotable(vm: string, why = 'no epoch is committed yet'): RomulusError {
  return new RomulusError('IMAGE_NOT_PROMOTABLE', `the standby of ${vm} cannot be promoted: ${why}`, {
    hint: `romulus status ${vm}`,
  });
}
