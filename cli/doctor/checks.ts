/** All checks of `romulus doctor`, in the order in which one would mend them. */

import { statSync } from 'node:fs';
import { type AgentConfig, configPath, loadConfig, parseConfig } from '../../shared/config.ts';
import { asRomulusError } from '../../shared/errors.ts';
import { AgentClient } from '../client.ts';
import { check, mendingCommands, prerequisites } from '../prerequisites.mjs';
import { checkCertificates } from './certificates.ts';
import { checkControl } from './control.ts';
import { type Finding, finding } from './finding.ts';
import { checkFreeMemory, checkImageDir } from './memory.ts';
import { checkOutputGate } from './network.ts';
import {
  checkClock,
  checkDirtyTracking,
  checkEngine,
  checkKvm,
  checkNode,
  checkUserfaultfd,
  checkWatchdog,
} from './system.ts';
import { checkXen, xenFacts } from './xen.ts';

/** `configFlag` and `apiFlag` as given on the command line. */
export async function examine(configFlag?: string, apiFlag?: string): Promise<Finding[]> {
  const { config, findings } = checkConfig(configFlag);
  const guestBytes = Object.values(config.vms).reduce((sum, vm) => sum + vm.spec.memoryBytes, 0);
  return [
    checkNode(),
    ...checkPackages(),
    checkEngine(),
    checkDirtyTracking(),
    checkUserfaultfd(),
    checkKvm(),
    checkOutputGate(),
    ...checkXen(await xenFacts()),
    checkImageDir(config.imageDir, guestBytes),
    checkFreeMemory(guestBytes),
    ...findings,
    ...checkCertificates(config),
    ...(await checkControl(config)),
    ...(config.watchdog ? [checkWatchdog(config.watchdog)] : []),
    checkClock(),
    await checkAgent(apiFlag ?? config.api),
  ];
}

/** What an agent needs is missing when it is not there; what only builds, demo and tests need is absent. */
function checkPackages(): Finding[] {
  return prerequisites.map((entry) => {
    const { ok, found } = check(entry);
    const needed = `${entry.minimum === undefined ? '' : `>= ${entry.minimum}; `}${entry.why}`;
    const fix = mendingCommands([entry])
      .map((command) => command.join(' '))
      .join(' && ');
    const verdict = ok ? 'ok' : entry.purposes.includes('agent') ? 'missing' : 'absent';
    return finding(entry.id, entry.what, verdict, { found, needed, fix });
  });
}

function checkConfig(flag: string | undefined): { config: AgentConfig; findings: Finding[] } {
  const { path, named } = configPath(flag);
  const there = statSync(path, { throwIfNoEntry: false }) !== undefined;
  const texts = { needed: 'valid', fix: `romulus config check --config ${path}` };
  try {
    const config = loadConfig(flag);
    const found = there || named ? `${path}, node ${config.node}` : `no ${path}, defaults`;
    return { config, findings: [finding('config', 'config', 'ok', { ...texts, found })] };
  } catch (thrown) {
    const { message, hint } = asRomulusError(thrown);
    const bad = finding('config', 'config', 'missing', { ...texts, found: message, fix: hint ?? texts.fix });
    return { config: parseConfig('', 'defaults'), findings: [bad] };
  }
}

async function checkAgent(socketPath: string): Promise<Finding> {
  const texts = {
    needed: 'running, to protect VMs',
    fix: 'systemctl start romulus-agent (or: romulus agent)',
  };
  try {
    const { node, version } = await new AgentClient(socketPath).status();
    return finding('agent', 'agent', 'ok', { ...texts, found: `node ${node}, version ${version}` });
  } catch (thrown) {
    return finding('agent', 'agent', 'absent', { ...texts, found: asRomulusError(thrown).message });
  }
}
