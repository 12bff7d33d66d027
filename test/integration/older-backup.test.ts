/** A backup of an older release: what its welcome does not offer is not sent to it. */

import { rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { replayTrace } from '../../cli/replay.ts';
import { makeTrace } from '../support/trace.ts';

vi.mock('../../shared/wire/messages.ts', async (original) => {
  const messages = await original<typeof import('../../shared/wire/messages.ts')>();
  return {
    ...messages,
    parseWelcome(head: Record<string, unknown>) {
      const { copies: _unsaid, ...older } = messages.parseWelcome(head);
      return older;
    },
  };
});

describe('a backup that does not say that it reads copies', () => {
  it('is sent none, however slow the link and however much would be saved', async () => {
    const moving = await makeTrace({ pages: 2000, epochs: 30, moved: 60 });
    try {
      const result = await replayTrace({
        tracePath: moving.path,
        threads: 2,
        linkBitsPerS: 1e7,
        onProgress: () => {},
      });
      expect(result).toMatchObject({ verified: true, epochs: 30, copiedPages: 0, copiedBytes: 0 });
    } finally {
      rmSync(dirname(moving.path), { recursive: true });
    }
  });
});
