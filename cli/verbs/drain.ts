/** `romulus drain`: every VM that runs on a host goes to its backup, so that the host can be taken away. */

import type { Verb } from '../context.ts';
import { showWholeHost } from '../whole-host-text.ts';

export const drain: Verb = (program, context) => {
  program
    .command('drain')
    .description('hand every VM of a host to its backup; exit 1 if one stayed')
    .argument('[host]', 'this one unless said otherwise; another one needs a queue')
    .action(async (host: string | undefined) => {
      const client = context().client();
      const node = host ?? (await client.status()).node;
      await showWholeHost(context(), await client.ask({ kind: 'drainHost', node }), `left ${node}`);
    });
};
