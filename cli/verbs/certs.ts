/** `romulus certs`: makes the private CA once, and a certificate for a node. */

import { collect, countArgument } from '../arguments.ts';
import { makeCertificates, NODE_DAYS } from '../certificates.ts';
import type { Verb } from '../context.ts';

export const certs: Verb = (program, context) => {
  program
    .command('certs')
    .description('make a private CA (once) and the certificate of a node')
    .argument('<dir>', 'folder of the certificates')
    .requiredOption('--node <name>', 'node the certificate is for')
    .option('--address <ip|dns>', 'further address of the node; may be given several times', collect, [])
    .option('--days <count>', 'how long it is good', countArgument, NODE_DAYS)
    .action(async (dir: string, options: { node: string; address: string[]; days: number }) => {
      const made = await makeCertificates(dir, options.node, options.address, options.days);
      context().out.result(made, () =>
        [
          ...(made.caCreated ? [`made a new CA; keep its key off the hosts: ${made.caKey}`] : []),
          `made the certificate of ${made.node}, good for ${made.expiresDays} days; copy the three files to it and set`,
          'tls:',
          `  ca: ${made.tls.ca}`,
          `  cert: ${made.tls.cert}`,
          `  key: ${made.tls.key}`,
        ].join('\n'),
      );
    });
};
