/** The witness register on Redis: one Lua script, a connection of its own, and no answer taken for a "no". */

import { Redis } from 'ioredis';
import { RomulusError } from '../errors.ts';
import { checkRedisDurability } from './redis-durability.ts';
import type {
  CasOptions,
  CasResult,
  Mode,
  RegisterEntry,
  RegisterReading,
  RegisterState,
  RegisterVersion,
  WitnessRegister,
} from './register.ts';
import { modes } from './register.ts';

/** `socketPath` or `url`; the witness has its own Redis instance, never shared with a cache. */
export type RedisAddress = { socketPath: string } | { url: string };

export interface RedisRegisterOptions {
  /** A request without an answer for this long is unknown. Default 250. */
  commandTimeoutMs?: number;
  /** Default `romulus:register:`. */
  keyPrefix?: string;
}

/**
 * KEYS[1] register; ARGV 'read', or 'set', expected term, seq, runId ('' if absent), inRun ('' for any), term, owner, mode,
 * syncEpoch, claim. Answers {outcome, live run id, term, seq, runId, owner, mode, syncEpoch, claim}, nothing after
 * the run id if the register is absent. INFO is asked inside the script, so run id and register are of one instant.
 */
const registerScript = `
local live = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local names = {'term', 'seq', 'runId', 'owner', 'mode', 'syncEpoch', 'claim'}
local now = redis.call('HMGET', KEYS[1], unpack(names))
local function answer(outcome, fields)
  if not fields[1] then return {outcome, live} end
  return {outcome, live, unpack(fields)}
end
if ARGV[1] == 'read' then return answer('read', now) end
if ARGV[5] ~= '' and ARGV[5] ~= live then return answer('conflict', now) end
local seq = 0
if ARGV[2] == '' then
  if now[1] then return answer('conflict', now) end
else
  if now[1] ~= ARGV[2] or now[2] ~= ARGV[3] or now[3] ~= ARGV[4] then return answer('conflict', now) end
  if tonumber(ARGV[6]) < tonumber(now[1]) then return answer('conflict', now) end
  seq = tonumber(now[2])
end
local new = {ARGV[6], string.format('%.0f', seq + 1), live, ARGV[7], ARGV[8], ARGV[9], ARGV[10]}
for i, name in ipairs(names) do redis.call('HSET', KEYS[1], name, new[i]) end
return answer('applied', new)
`;

interface ScriptedRedis extends Redis {
  witnessRegister(key: string, ...args: (string | number)[]): Promise<(string | null)[]>;
}

export class RedisRegister implements WitnessRegister {
  private readonly redis: ScriptedRedis;
  private readonly keyPrefix: string;
  /** The witness process whose settings were last found safe. */
  private checkedRunId: string | undefined;

  constructor(address: RedisAddress, options: RedisRegisterOptions = {}) {
    const settings = {
      commandTimeout: options.commandTimeoutMs ?? 250,
      // Nothing waits for a connection to come back: a write sent later than it was decided on is a wrong write.
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
      retryStrategy: (attempt: number) => Math.min(attempt * 20, 500),
      scripts: { witnessRegister: { lua: registerScript, numberOfKeys: 1 } },
    };
    this.redis = ('url' in address
      ? new Redis(address.url, settings)
      : new Redis({ ...settings, path: address.socketPath })) as unknown as ScriptedRedis;
    this.keyPrefix = options.keyPrefix ?? 'romulus:register:';
    // Every failed call reports its own reason; without a listener ioredis writes the same to stderr.
    this.redis.on('error', () => {});
  }

  /** Resolves once connected; rejects with WITNESS_UNREACHABLE after `timeoutMs`. */
  async ready(timeoutMs = 5000): Promise<void> {
    if (this.redis.status === 'ready') return;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.redis.off('ready', onReady);
        reject(unreachable('it did not answer in time'));
      }, timeoutMs);
      const onReady = () => {
        clearTimeout(timer);
        resolve();
      };
      this.redis.once('ready', onReady);
    });
  }

  async checkDurability(): Promise<void> {
    await checkRedisDurability(this.redis);
  }

  async read(vm: string): Promise<RegisterReading> {
    try {
      const reply = await this.redis.witnessRegister(this.keyPrefix + vm, 'read');
      const liveRunId = String(reply[1]);
      // A witness that restarted may have come back with other settings, or be another witness.
      if (this.checkedRunId !== liveRunId) {
        await this.checkDurability();
        this.checkedRunId = liveRunId;
      }
      return { outcome: 'read', state: parseState(reply), liveRunId };
    } catch (error) {
      return { outcome: 'unknown', reason: reasonOf(error) };
    }
  }

  async compareAndSet(
    vm: string,
    expected: RegisterVersion | undefined,
    next: RegisterEntry,
    options: CasOptions = {},
  ): Promise<CasResult> {
    const { term, owner, mode, syncEpoch, claim = '' } = next;
    const version = expected === undefined ? ['', '', ''] : [expected.term, expected.seq, expected.runId];
    const args = ['set', ...version, options.inRun ?? '', term, owner, mode, syncEpoch, claim];
    try {
      const reply = await this.redis.witnessRegister(this.keyPrefix + vm, ...args);
      const state = parseState(reply);
      if (reply[0] === 'applied' && state !== undefined) return { outcome: 'applied', state };
      return { outcome: 'conflict', current: state, liveRunId: String(reply[1]) };
    } catch (error) {
      return { outcome: 'unknown', reason: reasonOf(error) };
    }
  }

  async close(): Promise<void> {
    this.redis.disconnect();
  }
}

function parseState(reply: (string | null)[]): RegisterState | undefined {
  const [, , term, seq, runId, owner, mode, syncEpoch, claim] = reply;
  if (term === undefined) return undefined;
  const state: RegisterState = {
    term: Number(term),
    seq: Number(seq),
    runId: String(runId),
    owner: String(owner),
    mode: mode as Mode,
    syncEpoch: Number(syncEpoch),
    ...(claim ? { claim } : {}),
  };
  const numbers = [state.term, state.seq, state.syncEpoch];
  if (!numbers.every(Number.isSafeInteger) || !modes.includes(state.mode)) {
    throw new RomulusError(
      'WITNESS_UNSAFE',
      'The witness register holds something that Romulus did not write.',
      {
        hint: 'Give the witness a Redis instance of its own: see docs/safety.md.',
      },
    );
  }
  return state;
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function unreachable(reason: string): RomulusError {
  return new RomulusError('WITNESS_UNREACHABLE', `The witness cannot be asked: ${reason}.`, {
    hint: 'Check `witness:` in the config file and that its Redis runs: romulus doctor',
  });
}
