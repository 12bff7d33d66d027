/** Heads of every message from a hostile peer: parsed to the declared shape, or refused with WIRE_FRAME; never anything else. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RomulusError } from '../../shared/errors.ts';
import {
  parseAck,
  parseBeat,
  parseChunk,
  parseCommit,
  parseHandOver,
  parseHello,
  parseRenew,
  parseSync,
  parseWelcome,
} from '../../shared/wire/messages.ts';
import { hello } from '../support/raw-peer.ts';

const commit = {
  term: 1,
  epoch: 3,
  previous: 2,
  sentMs: 1.5,
  chunks: 0,
  stateBytes: 0,
  digest: '0'.repeat(16),
  stateDigest: '0'.repeat(16),
};

const parsers: Record<string, { valid: object; parse(head: Record<string, unknown>): object }> = {
  hello: { valid: hello, parse: parseHello },
  welcome: {
    valid: { protocol: 1, node: 'b', term: 1, lineage: null, committed: 0 },
    parse: parseWelcome,
  },
  sync: { valid: { lineage: 'l' }, parse: parseSync },
  chunk: {
    valid: { epoch: 0, region: 0, codec: 0, rawBytes: 9 },
    parse: (head) => parseChunk(head, 4096),
  },
  commit: { valid: commit, parse: parseCommit },
  ack: { valid: { term: 1, epoch: 1, promiseMs: 250, sentMs: 0.25 }, parse: parseAck },
  beat: { valid: { term: 1, sentMs: 0.25 }, parse: (head) => parseBeat(head, 'beat') },
  renew: { valid: { term: 1, epoch: 1, sentMs: 7 }, parse: parseRenew },
  handOver: { valid: { term: 2, epoch: 0 }, parse: parseHandOver },
};

const strange = fc.oneof(
  fc.anything(),
  fc.constantFrom(
    -1,
    0.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    2 ** 60,
    '',
    '../x',
    '1',
    [],
    {},
    null,
    undefined,
  ),
);

describe.each(Object.entries(parsers))('a %s', (_, { valid, parse }) => {
  it('that is well formed is taken as it is', () => {
    expect(parse(valid as Record<string, unknown>)).toEqual(valid);
  });

  it('with any one field replaced by anything is parsed or refused', () => {
    const fields = Object.keys(valid);
    fc.assert(
      fc.property(fc.constantFrom(...fields), strange, (field, value) => {
        try {
          parse({ ...valid, [field]: value });
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(RomulusError);
          expect((thrown as RomulusError).code).toBe('WIRE_FRAME');
        }
      }),
      { numRuns: 500 },
    );
  });

  it('that lacks a field is refused', () => {
    for (const field of Object.keys(valid)) {
      const { [field]: _gone, ...rest } = valid as Record<string, unknown>;
      expect(() => parse(rest), field).toThrow(/malformed/);
    }
  });
});

describe('times in messages', () => {
  it.each([-1, Number.NaN, Number.POSITIVE_INFINITY, '5', null])('%s is no time', (sentMs) => {
    expect(() => parseBeat({ term: 1, sentMs }, 'beat')).toThrow(/sentMs/);
    expect(() => parseCommit({ ...commit, sentMs })).toThrow(/sentMs/);
  });
});
