/** One host, the driver alone: checkpoints a guest, has Xen's own verifier read the save file, ends the guest and starts it anew from the image. */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundleForDom0 } from './testbed/bundle.ts';
import { ticksOf, WORKLOAD } from './testbed/guest.ts';
import { XenHost } from './testbed/host.ts';

const LIMIT_MS = 900_000;
const VERIFY =
  'PYTHONPATH=/usr/lib/xen-4.17/lib/python python3 /usr/lib/xen-4.17/bin/verify-stream-v2 -f xl -i /root/out/save';

export interface OneHostReport {
  /** As test/xen/dom0/capture.ts prints it: medians over the epochs, pages that differed at the last one. */
  capture: { differing: number; medians: Record<string, number> };
  tickBefore: number;
  restoreMs: number;
  tickAfter: number;
  guestCheck: string;
}

export async function captureAndRestore(epochs: number, say: (line: string) => void): Promise<OneHostReport> {
  const dir = mkdtempSync(join(tmpdir(), 'xen-'));
  const sharedDir = join(dir, 'shared');
  mkdirSync(sharedDir);
  bundleForDom0(sharedDir, ['test/xen/dom0/capture.ts', 'test/xen/dom0/restore.ts']);
  const host = await XenHost.boot({
    name: 'host',
    runDir: join(dir, 'host'),
    sharedDir,
    bootLimitMs: LIMIT_MS,
  });
  try {
    say('the host is up');
    await host.run(`mkdir -p /root/out && xl create /testbed/guest.cfg 'extra="${WORKLOAD}"'`, LIMIT_MS);
    await ticksOf(host);
    const capture = JSON.parse(
      await host.run(`node capture.mjs guest ${epochs} 200 /root/out`, LIMIT_MS),
    ) as OneHostReport['capture'];
    say(`captured ${epochs} epochs, ${capture.differing} pages differ`);
    const before = await ticksOf(host);
    await host.run(
      `node restore.mjs guest /root/out /root/out/save && ${VERIFY} && rm /root/out/save`,
      LIMIT_MS,
    );
    say("Xen's verifier accepts the save file");
    const restored = await host.run('xl destroy guest && node restore.mjs guest /root/out', LIMIT_MS);
    say('the guest is started anew from image and state');
    const after = await ticksOf(host);
    return {
      capture,
      tickBefore: before.tick,
      restoreMs: (JSON.parse(restored) as { tookMs: number }).tookMs,
      tickAfter: after.tick,
      guestCheck: after.check,
    };
  } finally {
    host.kill();
    rmSync(dir, { recursive: true, force: true });
  }
}
