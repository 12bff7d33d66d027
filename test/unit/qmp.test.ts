/** The QMP client against a monitor that says exactly what each claim needs. */

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MAX_QMP_LINE_BYTES, QmpClient } from '../../shared/hypervisor/qmp.ts';

const GREETING = '{"QMP":{"version":{"qemu":{"major":7,"minor":2,"micro":22}},"capabilities":[]}}\r\n';
type Command = { execute: string; arguments?: unknown; id: number };
type Answer = (command: Command, socket: Socket) => void;

let dir: string;
let server: Server;
let client: QmpClient | undefined;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'qmp-'));
});
afterEach(() => {
  client?.close();
  client = undefined;
  server.close();
  rmSync(dir, { recursive: true });
});

/** A monitor: greets, accepts the capabilities, and leaves every other command to `answer`. */
async function connectTo(answer: Answer): Promise<QmpClient> {
  const path = join(dir, 'qmp');
  server = createServer((socket) => {
    socket.write(GREETING);
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
      const lines = text.split('\n');
      text = lines.pop() ?? '';
      for (const line of lines) {
        const command = JSON.parse(line) as Command;
        if (command.execute === 'qmp_capabilities') reply(socket, command, {});
        else answer(command, socket);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  client = await QmpClient.connect(path);
  return client;
}

function reply(socket: Socket, command: Command, value: unknown): void {
  socket.write(`${JSON.stringify({ return: value, id: command.id })}\r\n`);
}

describe('QMP', () => {
  it('matches replies by id, whatever their order', async () => {
    const held: Command[] = [];
    const qmp = await connectTo((command, socket) => {
      held.push(command);
      if (held.length === 2) for (const each of held.reverse()) reply(socket, each, each.execute);
    });
    await expect(Promise.all([qmp.execute('stop'), qmp.execute('cont')])).resolves.toEqual(['stop', 'cont']);
  });

  it('takes a message in pieces, and several in one piece', async () => {
    const qmp = await connectTo((command, socket) => {
      const text = `{"event":"STOP"}\n{"return":"schön","id":${command.id}}\n`;
      const bytes = Buffer.from(text);
      for (const byte of bytes) socket.write(Buffer.of(byte));
    });
    const stopped = qmp.waitFor(({ event }) => event === 'STOP');
    expect(await qmp.execute('stop')).toBe('schön');
    expect(await stopped).toEqual({ event: 'STOP', data: {} });
  });

  it('rejects with what QEMU says when it refuses a command, and goes on', async () => {
    const qmp = await connectTo((command, socket) => {
      if (command.execute === 'cont') return reply(socket, command, {});
      socket.write(`{"id":${command.id},"error":{"class":"GenericError","desc":"no such thing"}}\n`);
    });
    await expect(qmp.execute('foo')).rejects.toMatchObject({
      code: 'HV_PROTOCOL',
      message: 'foo: no such thing',
    });
    await expect(qmp.execute('cont')).resolves.toEqual({});
  });

  it('rejects a command without a reply when its time is up', async () => {
    const qmp = await connectTo(() => undefined);
    await expect(qmp.execute('stop', undefined, 20)).rejects.toMatchObject({ code: 'HV_PROTOCOL' });
  });

  it('rejects every pending and later command once QEMU is gone', async () => {
    const qmp = await connectTo((_, socket) => socket.destroy());
    await expect(qmp.execute('stop')).rejects.toMatchObject({ code: 'HV_PROTOCOL' });
    await expect(qmp.execute('cont')).rejects.toMatchObject({ code: 'HV_PROTOCOL' });
    await expect(qmp.waitFor(() => true)).rejects.toMatchObject({ code: 'HV_PROTOCOL' });
    expect(qmp.closed).toBe(true);
  });

  it('ends the connection on a line beyond the limit instead of storing it', async () => {
    const qmp = await connectTo((_, socket) => socket.write(Buffer.alloc(MAX_QMP_LINE_BYTES + 2, 'x')));
    await expect(qmp.execute('stop')).rejects.toThrow(/longer than/);
  });

  it.each(['nonsense', 'null', '5'])('ends the connection on the line %j', async (line) => {
    const qmp = await connectTo((_, socket) => socket.write(`${line}\n`));
    await expect(qmp.execute('stop')).rejects.toThrow(/not a QMP message/);
  });

  it('names the other client when the monitor does not greet', async () => {
    const path = join(dir, 'silent');
    server = createServer(() => undefined);
    await new Promise<void>((resolve) => server.listen(path, resolve));
    await expect(QmpClient.connect(path, { timeoutMs: 30 })).rejects.toThrow(/another client/);
  });

  it('says where it looked when nobody listens', async () => {
    server = createServer();
    const connecting = QmpClient.connect(join(dir, 'nobody'), { timeoutMs: 10 });
    await expect(connecting).rejects.toMatchObject({
      code: 'HV_PROTOCOL',
      message: expect.stringContaining('nobody'),
    });
  });
});
