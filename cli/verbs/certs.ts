/** `romulus certs`: makes the private CA once, and a certificate for a node. */

import { collect } from '../arguments.ts';
import { makeCertificates } from '../certificates.ts';
import type { Verb } from '../context.ts';

export const certs: Verb = (program, context) => {
  program
    .command('certs')
    .description('make a private CA (once) and the certificate of a node')
    .argument('<dir>', 'folder of the certificates')
    .requiredOption('--node <name>', 'node the certificate is for')
    .option('--address <ip|dns>', 'further address of the node; may be given several times', collect, [])
    .action(async (dir: string, options: { node: string; address: string[] }) => {
      const made = await makeCertificates(dir, options.node, options.address);
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
