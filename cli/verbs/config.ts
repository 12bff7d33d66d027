/** `romulus config check|print`: is the file good, and what does it come to. */

import { stringify } from 'yaml';
import { configAsFile, configPath } from '../../shared/config.ts';
import type { Verb } from '../context.ts';

export const config: Verb = (program, context) => {
  const group = program.command('config').description('check or print the config');
  group
    .command('check')
    .description('exit 2 and name the fault unless the config is good')
    .action(() => {
      const { path } = configPath(context().configFlag);
      const { node, vms } = context().config();
      const checked = { ok: true, path, node, vms: Object.keys(vms) };
      context().out.result(checked, () => `${path} is good: node ${node}, ${checked.vms.length} VMs`);
    });
  group
    .command('print')
    .description('print the effective config, defaults filled in')
    .action(() => {
      const effective = configAsFile(context().config());
      context().out.result(effective, () => stringify(effective).trimEnd());
    });
};
