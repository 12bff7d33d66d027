/** Automatic failover with real agents, a real Redis as witness and a real guest: by itself there, and by itself back. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Lab, VM } from '../../cli/lab/lab.ts';
import { readHeartbeats } from '../../cli/lab/serial.ts';
import { LabWitness } from '../../cli/lab/witness.ts';
import { RedisRegister } from '../../shared/control/redis-register.ts';
import type { RegisterState } from '../../shared/control/register.ts';
import { ticksOn } from './kills.ts';

let witness: LabWitness;
let lab: Lab;
let register: RedisRegister;

beforeAll(async () => {
  witness = await LabWitness.start();
  register = new RedisRegister({ socketPath: witness.socketPath }, { commandTimeoutMs: 5000 });
  await register.ready();
  lab = await Lab.create({ memoryMiB: 128, epochMs: 25, workload: { structureMiB: 16 }, witness });
  await lab.start();
  await lab.protect();
}, 180_000);

afterAll(async () => {
  await lab?.close();
  await register?.close();
  await witness?.stop();
});

async function registered(): Promise<RegisterState | undefined> {
  const reading = await register.read(VM);
  if (reading.outcome !== 'read') throw new Error(reading.reason);
  return reading.state;
}

describe('a VM with a witness', () => {
  it('is in the register as PROTECTED', async () => {
    expect(await registered()).toMatchObject({ owner: 'alpha', mode: 'PROTECTED', term: 1 });
    expect(await lab.primary.client.vm(VM)).toMatchObject({ state: 'PROTECTED', failover: 'auto' });
  });

  it('goes on by itself on its backup when its host loses power', async () => {
    const failover = lab.watch(
      lab.backup,
      (event) => event.kind === 'failover',
      async () => {
        await lab.primary.pullPlug();
        return false;
      },
    );
    expect(await failover).toMatchObject({ term: 2 });
    expect(await ticksOn(lab.serialLog('b'))).toBe(true);
    expect(await registered()).toMatchObject({ owner: 'beta', mode: 'SOLO', term: 2 });
  });

  it('is protected again by itself once the dead host is back, with the roles swapped', async () => {
    await lab.primary.start();
    await lab.untilProtected(lab.backup);
    expect(await registered()).toMatchObject({ owner: 'beta', mode: 'PROTECTED', term: 2 });
    expect(await lab.primary.client.vm(VM)).toMatchObject({ role: 'backup', state: 'STANDBY' });
    expect(readHeartbeats(lab.serialLog('b')).faults).toEqual([]);
  });

  it('goes on elsewhere too when only its agent dies, and its guest is ended when that comes back', async () => {
    const failover = lab.watch(
      lab.primary,
      (event) => event.kind === 'failover',
      async () => {
        await lab.backup.end('SIGKILL');
        return false;
      },
    );
    const guest = lab.backup.qemuPid(VM);
    expect(await failover).toMatchObject({ term: 3 });
    await lab.backup.start();
    await lab.untilProtected(lab.primary);
    expect(await registered()).toMatchObject({ owner: 'alpha', mode: 'PROTECTED', term: 3 });
    expect(lab.backup.qemuPid(VM)).not.toBe(guest);
    expect(readHeartbeats(lab.serialLog('a')).faults).toEqual([]);
  });
});
