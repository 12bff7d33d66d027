#!/usr/bin/env node
/** The one command `romulus`: parses, hands over to a verb, and turns what comes of it into an exit code. */

import './compile-at-once.ts'; // before all that it is to hold for
import { Command, CommanderError } from 'commander';
import { ExitCode, RomulusError } from '../shared/errors.ts';
import { logLevels } from '../shared/log.ts';
import { VERSION } from '../shared/version.ts';
import { Context, type Verb } from './context.ts';
import { agent } from './verbs/agent.ts';
import { bench } from './verbs/bench.ts';
import { certs } from './verbs/certs.ts';
import { checkpoint } from './verbs/checkpoint.ts';
import { config } from './verbs/config.ts';
import { confirm } from './verbs/confirm.ts';
import { demo } from './verbs/demo.ts';
import { doctor } from './verbs/doctor.ts';
import { drain } from './verbs/drain.ts';
import { failover } from './verbs/failover.ts';
import { list } from './verbs/list.ts';
import { protect } from './verbs/protect.ts';
import { record } from './verbs/record.ts';
import { replay } from './verbs/replay.ts';
import { status } from './verbs/status.ts';
import { switchover } from './verbs/switchover.ts';
import { unprotect } from './verbs/unprotect.ts';

const verbs: Verb[] = [
  agent,
  protect,
  unprotect,
  status,
  list,
  failover,
  checkpoint,
  drain,
  switchover,
  confirm,
  doctor,
  certs,
  config,
  demo,
  replay,
  record,
  bench,
];

const program = new Command('romulus')
  .description('Keeps a running virtual machine alive past the death of its host.')
  .version(VERSION)
  .option('--json', 'print one JSON document on stdout')
  .option('--config <file>', 'config file (default: $ROMULUS_CONFIG, else /etc/romulus/agent.yaml)')
  .option('--api <path>', "unix socket of the agent (default: the config's)")
  .option('--log-level <level>', logLevels.join(', '), 'info')
  .exitOverride()
  .showHelpAfterError('try: romulus --help');

// Verbs inherit exitOverride only when it is set before they are added.
let context: Context | undefined;
for (const verb of verbs) verb(program, () => (context ??= new Context(program.opts())));

// `romulus status | head` is not a failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(ExitCode.ok);
  throw error;
});

try {
  await program.parseAsync();
  process.exitCode = context?.exitCode ?? ExitCode.ok;
} catch (thrown) {
  process.exitCode = failed(thrown);
}

function failed(thrown: unknown): number {
  context ??= new Context(program.opts());
  if (!(thrown instanceof CommanderError)) return context.out.failure(thrown);
  if (thrown.exitCode === 0) return ExitCode.ok;
  // commander has already written its message to stderr.
  if (context.out.json) {
    const error = new RomulusError('USAGE', thrown.message.replace(/^error: /, ''), {
      hint: 'romulus --help',
    });
    context.out.result({ error: error.toJSON() }, () => '');
  }
  return ExitCode.usage;
}
