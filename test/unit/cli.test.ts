/** The command line: exit codes and JSON that scripts can depend on, and help for people when something fails. */

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Output, table, wantsColour } from '../../cli/output.ts';
import { progressLine, statusText } from '../../cli/status-text.ts';
import { RomulusError } from '../../shared/errors.ts';
import { type ApiServer, type Routes, serveApi } from '../../shared/http.ts';
import type { VmStatus } from '../../shared/status.ts';

const main = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));

let folder: string;
let api: string;
let server: ApiServer | undefined;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'romulus-cli-'));
  api = join(folder, 'agent.sock');
});
afterEach(async () => {
  await server?.close();
  server = undefined;
});
afterAll(() => rmSync(folder, { recursive: true }));

interface Run {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs the command as a script would; the agent it talks to is in this process. */
function romulus(...args: string[]): Promise<Run> {
  const child = spawn(process.execPath, ['--import', 'tsx', main, ...args], {
    env: { ...process.env, ROMULUS_CONFIG: '' },
  });
  const run: Run = { code: null, stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => {
    run.stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    run.stderr += chunk;
  });
  return new Promise((resolve) => child.once('close', (code) => resolve({ ...run, code })));
}

async function agentWith(routes: Routes): Promise<void> {
  server = await serveApi(api, routes);
}

function vmStatus(over: Partial<VmStatus> = {}): VmStatus {
  return {
    vm: 'web',
    role: 'primary',
    state: 'PROTECTED',
    peer: 'b',
    hypervisor: 'qemu',
    term: 1,
    epoch: 12,
    ackedEpoch: 11,
    epochMs: 25,
    windowEpochs: 8,
    rawBytes: 4096 * 100,
    wireBytes: 4096,
    since: '2026-01-01T00:00:00.000Z',
    ...over,
  };
}

describe('status', () => {
  it('prints the document of the agent with --json and exits 0 when all is well', async () => {
    const document = {
      node: 'a',
      version: '0.1.0',
      vms: [vmStatus(), vmStatus({ vm: 'db', state: 'STANDBY' })],
    };
    await agentWith({ 'GET /v1/status': () => document });
    const run = await romulus('status', '--json', '--api', api);
    expect(JSON.parse(run.stdout)).toEqual(document);
    expect(run).toMatchObject({ code: 0, stderr: '' });
  });

  it('exits 3 when any VM is not protected, saying why and what to do', async () => {
    const broken = vmStatus({ state: 'DEGRADED', reason: 'the backup is full', hint: 'romulus doctor' });
    await agentWith({ 'GET /v1/vms/:vm': () => broken });
    const run = await romulus('--api', api, 'status', 'web');
    expect(run.code).toBe(3);
    expect(run.stdout).toContain('DEGRADED');
    expect(run.stdout).toContain('web: the backup is full\ntry: romulus doctor');
  });
});

describe('failover', () => {
  it('refused by the agent exits 4 with error, hint and JSON alike', async () => {
    await agentWith({
      'POST /v1/failover': () => {
        throw new RomulusError('PRIMARY_ALIVE', 'the primary was seen 12 ms ago', { hint: 'stop it first' });
      },
    });
    const run = await romulus('failover', 'web', '--api', api, '--json');
    expect(run.code).toBe(4);
    expect(run.stderr).toBe('error: the primary was seen 12 ms ago\ntry: stop it first\n');
    expect(JSON.parse(run.stdout).error.code).toBe('PRIMARY_ALIVE');
  });

  it('by force needs a word on who fenced the primary', async () => {
    expect((await romulus('failover', 'web', '--force', '--api', api)).code).toBe(4);
  });

  it('sends what was asked and tells where the VM goes on', async () => {
    let asked: unknown;
    await agentWith({
      'POST /v1/failover': ({ body }) => {
        asked = body;
        return { vm: 'web', epoch: 7, term: 2, decisionToRunningMs: 9.3, promiseWaitMs: 120 };
      },
    });
    const run = await romulus('failover', 'web', '--force', '--fenced-by', 'ops', '--api', api);
    expect(asked).toEqual({ vm: 'web', force: true, fencedBy: 'ops' });
    expect(run).toMatchObject({
      code: 0,
      stdout: 'web runs here from epoch 7 on, term 2, 9.3ms after 120ms of waiting\n',
    });
  });
});

describe('orders about a whole host', () => {
  const view = { node: 'a', id: '7', kind: 'drainHost', percent: 0, vmCount: 2 };
  const vms = [
    { vm: 'db', ok: true },
    { vm: 'web', ok: false, error: { code: 'VM_BUSY', message: 'web stays', hint: 'romulus status web' } },
  ];

  it('drain waits for its job, names what stayed and exits 1', async () => {
    const views = [
      { ...view, state: 'waiting', vms: [] },
      { ...view, state: 'completed', percent: 100, vms },
    ];
    let asked: unknown;
    await agentWith({
      'GET /v1/status': () => ({ node: 'a', version: '0', vms: [] }),
      'POST /v1/jobs': ({ body }) => {
        asked = body;
        return { ...view, state: 'waiting' };
      },
      'GET /v1/jobs/:node/:id': ({ params }) => {
        expect(params).toEqual({ node: 'a', id: '7' });
        return views.shift();
      },
    });
    const run = await romulus('drain', '--api', api);
    expect(asked).toEqual({ kind: 'drainHost', node: 'a' });
    expect(run).toMatchObject({ code: 1, stdout: 'db left a\nweb: web stays\ntry: romulus status web\n' });
  });

  it('failover --host exits 0 when every VM runs here, and refuses a VM beside it', async () => {
    let asked: unknown;
    await agentWith({
      'POST /v1/jobs': ({ body }) => {
        asked = body;
        return { ...view, kind: 'failoverHost', state: 'completed', vms: vms.slice(0, 1) };
      },
    });
    const run = await romulus(
      'failover',
      '--host',
      'b',
      '--force',
      '--fenced-by',
      'ops',
      '--json',
      '--api',
      api,
    );
    expect(asked).toEqual({ kind: 'failoverHost', node: 'b', fencedBy: 'ops' });
    expect(run.code).toBe(0);
    expect(JSON.parse(run.stdout).vms).toEqual([{ vm: 'db', ok: true }]);
    expect((await romulus('failover', 'web', '--host', 'b', '--api', api)).code).toBe(2);
    expect((await romulus('failover', '--host', 'b', '--force', '--api', api)).code).toBe(4);
  });
});

describe('protect', () => {
  it('--wait returns once the first copy is through', async () => {
    const states = [
      vmStatus({ state: 'SYNCING', sync: { percent: 50, sentBytes: 1, round: 1 } }),
      vmStatus(),
    ];
    let asked: unknown;
    await agentWith({
      'POST /v1/protect': ({ body }) => {
        asked = body;
        return vmStatus({ state: 'STARTING' });
      },
      'GET /v1/vms/:vm': () => states.shift(),
    });
    const run = await romulus(
      'protect',
      'web',
      '--to',
      'b',
      '--epoch',
      '10ms',
      '--wait',
      '--json',
      '--api',
      api,
    );
    expect(asked).toEqual({ vm: 'web', to: 'b', epochMs: 10 });
    expect(JSON.parse(run.stdout).state).toBe('PROTECTED');
    expect(run.code).toBe(0);
  });

  it('--wait exits 3 when protection does not come about', async () => {
    await agentWith({ 'POST /v1/protect': () => vmStatus({ state: 'DEGRADED', reason: 'no space' }) });
    const run = await romulus('protect', 'web', '--to', 'b', '--wait', '--api', api);
    expect(run).toMatchObject({ code: 3, stderr: expect.stringContaining('no space') });
  });
});

describe('exit codes', () => {
  it('of wrong usage are 2, with a JSON document when one was asked for', async () => {
    for (const args of [['bogus'], ['protect', 'web'], ['protect', 'web', '--to', 'b', '--epoch', '1ms']]) {
      const run = await romulus(...args, '--json');
      expect(run.code).toBe(2);
      expect(JSON.parse(run.stdout).error.code).toBe('USAGE');
    }
  });

  it('of an agent that does not answer are 1, with the next command', async () => {
    const run = await romulus('list', '--api', join(folder, 'none.sock'));
    expect(run).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('try: ') });
  });

  it('of a VM nobody knows are 5', async () => {
    await agentWith({
      'POST /v1/unprotect': () => {
        throw new RomulusError('VM_UNKNOWN', 'no VM web');
      },
    });
    expect((await romulus('unprotect', 'web', '--api', api)).code).toBe(5);
  });

  it('of a config with an unknown key are 2, and the key is named', async () => {
    const file = join(folder, 'agent.yaml');
    writeFileSync(file, 'nodee: a\n');
    const run = await romulus('config', 'check', '--config', file);
    expect(run.code).toBe(2);
    expect(run.stderr).toContain('unknown key "nodee"; did you mean "node"?');
  });
});

describe('text for people', () => {
  const plain = new Output({ json: false, colour: false });

  it('keeps columns straight whatever is coloured', () => {
    expect(
      table([
        ['\x1b[32mab\x1b[39m', 'x'],
        ['abc', 'y'],
      ]),
    ).toBe('\x1b[32mab\x1b[39m   x\nabc  y');
  });

  it('has no colour where NO_COLOR is set or no terminal listens', () => {
    expect(wantsColour({ isTTY: true }, {})).toBe(true);
    expect(wantsColour({ isTTY: true }, { NO_COLOR: '1' })).toBe(false);
    expect(wantsColour({}, {})).toBe(false);
  });

  it('shows how far the first copy is', () => {
    const syncing = vmStatus({ state: 'SYNCING', sync: { percent: 50, sentBytes: 1024 ** 2, round: 2 } });
    expect(progressLine(syncing)).toBe('web: first copy [############            ] 50%, round 2, 1MiB sent');
    expect(statusText([syncing], plain)).toContain(progressLine(syncing));
  });

  it('says how to begin when there is no VM', () => {
    expect(statusText([], plain)).toContain('romulus protect');
  });
});
