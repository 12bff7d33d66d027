/** The limits of connecting follow a long silence, and nothing else loosens them. */

import { describe, expect, it } from 'vitest';
import { connectingLimits } from '../../shared/wire/connecting.ts';

describe('the limits of connecting', () => {
  it('are the same for every silence of some seconds', () => {
    expect(connectingLimits(100)).toEqual(connectingLimits(5000));
    expect(connectingLimits(1000)).toEqual({
      handshakeMs: 5000,
      helloMs: 5000,
      welcomeMs: 10_000,
      admissionMs: 10_000,
    });
  });

  it('are no shorter than a silence after which a peer is not lost yet', () => {
    for (const limit of Object.values(connectingLimits(30_000))) expect(limit).toBe(30_000);
  });

  it('never let a stranger stay longer than a minute', () => {
    expect(connectingLimits(3_600_000).admissionMs).toBe(60_000);
    expect(connectingLimits(Number.POSITIVE_INFINITY).handshakeMs).toBe(60_000);
  });
});
