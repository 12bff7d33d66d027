/** What clients know of the guest's database, and whether it still is what they know: ledger, pgbench's sums, amcheck. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { POSTGRES_DIR } from '../../guest/postgres.ts';
import { Connection } from './connection.ts';
import { PostgresClient } from './postgres-client.ts';
import { GUEST_ADDRESS, type Segment } from './segment.ts';
import { WriteLoop } from './write-loop.ts';

const CRASH_PORT = 7002;
/** Everything in the heap is in the index, for every index; and every page of every table is sound. */
const AMCHECK = `
SELECT bt_index_check(c.oid, true) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
WHERE a.amname = 'btree' AND c.relpersistence = 'p' AND i.indisready AND i.indisvalid`;
const HEAPS = `
SELECT c.relname, v.blkno, v.msg FROM pg_class c, LATERAL verify_heapam(c.oid) v
WHERE c.relkind = 'r' AND c.relpersistence = 'p'`;
/** pgbench changes all four in one transaction, so they are alike after any number of whole ones. */
const SUMS = `
SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),
(SELECT sum(bbalance) FROM pgbench_branches), (SELECT coalesce(sum(delta), 0) FROM pgbench_history)`;

/** A client that inserts numbered rows over one connection, and knows which of them were committed. */
export class DatabaseLedger {
  readonly client: number;
  readonly #connection: PostgresClient;
  readonly #writes = new WriteLoop();
  /** Rows 1 to this were acknowledged. */
  acknowledged: number;

  private constructor(client: number, connection: PostgresClient, acknowledged: number) {
    this.client = client;
    this.#connection = connection;
    this.acknowledged = acknowledged;
  }

  static async open(segment: Segment, client: number, timeoutMs: number): Promise<DatabaseLedger> {
    const connection = await PostgresClient.open(segment, timeoutMs);
    const [row] = await connection.query(`SELECT coalesce(max(n), 0) FROM ledger WHERE client = ${client}`);
    return new DatabaseLedger(client, connection, Number(row?.[0]));
  }

  start(): void {
    this.#writes.start(async () => {
      const n = this.acknowledged + 1;
      await this.#connection.query(`INSERT INTO ledger VALUES (${this.client}, ${n}, 'row ${n}')`);
      this.acknowledged = n;
    });
  }

  /** Rejects if the connection broke meanwhile. */
  stop(): Promise<void> {
    return this.#writes.stop();
  }

  close(): Promise<void> {
    return this.#connection.close();
  }
}

/** pgbench of this host, in the segment, until it is stopped. */
export class Pgbench {
  readonly #child: ChildProcess;
  #log = '';

  constructor(segment: Segment, clients: number) {
    const pgbench = [
      `${POSTGRES_DIR}/bin/pgbench`,
      '-h',
      GUEST_ADDRESS,
      '-U',
      'postgres',
      '-n',
      '-T',
      '100000',
    ];
    const [file = '', ...args] = [...segment.launcher, ...pgbench, '-c', String(clients), 'postgres'];
    this.#child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on('data', (data: Buffer) => {
        this.#log += data.toString();
      });
  }

  /** What it said so far; an aborted client, or one whose connection broke, is named here. */
  get log(): string {
    return this.#log;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async stop(): Promise<void> {
    if (!this.running) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}

/** Everything that is wrong with the database, in words; empty when nothing is. */
export async function checkDatabase(
  segment: Segment,
  ledgers: readonly DatabaseLedger[],
  timeoutMs: number,
): Promise<string[]> {
  const wrong: string[] = [];
  const connection = await PostgresClient.open(segment, timeoutMs);
  try {
    for (const { client, acknowledged } of ledgers) {
      const [row] = await connection.query(
        `SELECT count(*) FROM ledger WHERE client = ${client} AND n <= ${acknowledged} AND note = 'row ' || n`,
      );
      if (Number(row?.[0]) !== acknowledged) {
        wrong.push(`client ${client} was told of ${acknowledged} commits, ${row?.[0]} are there`);
      }
    }
    const [sums] = await connection.query(SUMS);
    if (new Set(sums).size !== 1) wrong.push(`pgbench's sums differ: ${sums?.join(', ')}`);
    await connection.query(AMCHECK);
    for (const row of await connection.query(HEAPS)) wrong.push(`heap: ${row.join(' ')}`);
  } catch (thrown) {
    wrong.push(String(thrown));
  } finally {
    await connection.close();
  }
  return wrong;
}

/** SIGKILL for every process of the database, its file system mounted anew, and recovery from what the disk holds. */
export async function crashDatabase(segment: Segment): Promise<void> {
  const connection = new Connection(segment, CRASH_PORT);
  try {
    await connection.write('crash\n');
    let said = '';
    while (!said.includes('\n')) said += (await connection.read()).toString();
    if (said !== 'ok\n') throw new Error(`the guest said ${said}`);
  } finally {
    await connection.close();
  }
}
