/** `romulus agent`: the daemon of one host, in the foreground until SIGTERM or SIGINT. */

import type { Verb } from '../context.ts';

export const agent: Verb = (program, context) => {
  program
    .command('agent')
    .description('run the agent of this host')
    .action(async () => {
      const config = context().config();
      const log = context().log('agent');
      const { runAgent } = await import('../agent.ts');
      await runAgent(config, log);
    });
};
