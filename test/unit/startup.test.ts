/** No node starts a VM on boot by itself: what record, guest and register together say. */

import { describe, expect, it } from 'vitest';
import type { RegisterReading, RegisterState } from '../../shared/control/register.ts';
import { type FoundAtStart, startAs } from '../../shared/control/startup.ts';

const register: RegisterState = { term: 2, owner: 'a', mode: 'PROTECTED', syncEpoch: 5, seq: 9, runId: 'r' };
const says = (state: RegisterState | undefined): RegisterReading => ({
  outcome: 'read',
  state,
  liveRunId: 'r',
});
const found = (found: Partial<FoundAtStart>): FoundAtStart => ({
  record: { term: 2, role: 'primary', epoch: 5 },
  guestAlive: true,
  image: { whole: true, term: 2, epoch: 7 },
  ...found,
});

describe('an agent that starts', () => {
  it('takes up a living guest that the register says is its own', () => {
    expect(startAs('a', found({}), says(register))).toEqual({ as: 'primary' });
  });

  it('ends a guest that another node owns, and asks for a resync', () => {
    const start = startAs('a', found({}), says({ ...register, owner: 'b', term: 3 }));
    expect(start).toEqual({ as: 'backup', endGuest: true, imageWhole: false });
  });

  it('starts no guest that died, even if the register says that it is its own', () => {
    expect(startAs('a', found({ guestAlive: false }), says(register))).toMatchObject({
      as: 'backup',
      imageWhole: false,
    });
  });

  it('keeps the image it held as a backup', () => {
    const record = { term: 2, role: 'backup', epoch: 0 } as const;
    expect(startAs('b', found({ record, guestAlive: false }), says(register))).toMatchObject({
      imageWhole: true,
    });
  });

  it('waits for a witness that is silent', () => {
    expect(startAs('a', found({}), { outcome: 'unknown', reason: 'timed out' })).toMatchObject({
      as: 'wait',
    });
  });

  it('keeps its guest, barred, if the witness forgot the VM or is behind', () => {
    expect(startAs('a', found({}), says(undefined))).toEqual({ as: 'primary' });
    expect(startAs('a', found({}), says({ ...register, owner: 'b', term: 1 }))).toEqual({ as: 'primary' });
  });
});
