/** The failure list, as far as one machine can stage it: what is done, and what must come of it. */

import { setTimeout as delay } from 'node:timers/promises';
import type { AgentProcess } from '../../cli/lab/agent-process.ts';
import { VM } from '../../cli/lab/lab.ts';
import { SILENCE_MS, type Stage } from './stage.ts';

/** What may come of a failure. */
export type Outcome =
  /** The guest goes on where it was. */
  | 'stays'
  /** The guest goes on on the other host. */
  | 'moves'
  /** Nobody serves until an operator says what was lost. */
  | 'waits';

export interface Scenario {
  name: string;
  /** How it is staged. */
  how: string;
  expected: Outcome;
  /** Both sides see the witness, and the primary gives up first; on loaded cores the other may be the quicker all the same. */
  race?: true;
  /** Played in the suite too; the rest, like it, by `npm run docs:failures`. */
  brief?: true;
  /** Stages it, and returns what came of it; the stage then mends everything and waits for PROTECTED. */
  play(stage: Stage): Promise<Outcome>;
}

/** Longer than the silence that counts as loss, by far. */
const LONG_MS = 3 * SILENCE_MS;
/** Shorter than it. */
const FLAP_MS = SILENCE_MS / 4;

/** Who serves after the failure, against who did before. */
async function cameOf(stage: Stage, before: string): Promise<Outcome> {
  return (await stage.roles()).on.name === before ? 'stays' : 'moves';
}

/** The operator confirms where that is asked for; a VM that came back to PROTECTED by itself has nothing to confirm. */
async function confirmIfAsked(stage: Stage, on: AgentProcess): Promise<void> {
  await stage.until(
    on,
    (status) => status?.reason?.includes('confirm') === true || status?.state === 'PROTECTED',
  );
  await on.client.confirm(VM).catch(() => {});
}

export const scenarios: Scenario[] = [
  {
    name: 'The primary host loses power',
    how: 'kill -9 of its agent and its QEMU in one instant',
    expected: 'moves',
    async play(stage) {
      const { on, other } = await stage.roles();
      await on.pullPlug();
      await stage.untilServes(other);
      return cameOf(stage, on.name);
    },
  },
  {
    name: 'The backup host loses power',
    how: 'kill -9 of its agent and its standby QEMU',
    expected: 'stays',
    async play(stage) {
      const { on, other } = await stage.roles();
      await other.pullPlug();
      await stage.untilAuthority(on, 'SOLO');
      return cameOf(stage, on.name);
    },
  },
  {
    name: "The primary's agent dies, its guest lives",
    how: 'kill -9 of the agent alone; the gate shuts with it',
    expected: 'moves',
    async play(stage) {
      const { on, other } = await stage.roles();
      await on.end('SIGKILL');
      await stage.untilServes(other);
      return cameOf(stage, on.name);
    },
  },
  {
    name: "The primary's agent is stopped, and goes on later",
    how: 'SIGSTOP for 6 s, then SIGCONT',
    expected: 'moves',
    brief: true,
    async play(stage) {
      const { on, other } = await stage.roles();
      process.kill(on.pid, 'SIGSTOP');
      await stage.untilServes(other);
      await delay(LONG_MS);
      process.kill(on.pid, 'SIGCONT');
      await stage.until(on, (status) => status?.role === 'backup' || status?.state === 'FENCED');
      return cameOf(stage, on.name);
    },
  },
  {
    name: "The backup's agent is stopped, and goes on later",
    how: 'SIGSTOP for 6 s, then SIGCONT',
    expected: 'stays',
    async play(stage) {
      const { on, other } = await stage.roles();
      process.kill(other.pid, 'SIGSTOP');
      await stage.untilAuthority(on, 'SOLO');
      await delay(LONG_MS);
      process.kill(other.pid, 'SIGCONT');
      return cameOf(stage, on.name);
    },
  },
  {
    name: 'The hosts lose each other, both see the witness',
    how: 'link between them cut for 6 s',
    expected: 'stays',
    brief: true,
    race: true,
    async play(stage) {
      const { on, other } = await stage.roles();
      stage.links.cutBoth('alpha', 'beta');
      await stage.untilSettled(on, other);
      await delay(LONG_MS);
      return cameOf(stage, on.name);
    },
  },
  {
    name: 'The primary is isolated',
    how: 'its links to backup and witness cut until the other side serves',
    expected: 'moves',
    brief: true,
    async play(stage) {
      const { on, other } = await stage.roles();
      stage.links.cutBoth('alpha', 'beta');
      stage.links.cutBoth(nameOf(on.name), 'w');
      await stage.untilServes(other);
      return cameOf(stage, on.name);
    },
  },
  {
    name: 'The backup is isolated',
    how: 'its links to primary and witness cut for 6 s',
    expected: 'stays',
    async play(stage) {
      const { on, other } = await stage.roles();
      stage.links.cutBoth('alpha', 'beta');
      stage.links.cutBoth(nameOf(other.name), 'w');
      await stage.untilAuthority(on, 'SOLO');
      await delay(LONG_MS);
      return cameOf(stage, on.name);
    },
  },
  {
    name: 'The primary loses the witness alone',
    how: 'its link to the witness cut for 6 s',
    expected: 'stays',
    async play(stage) {
      const { on } = await stage.roles();
      stage.links.cutBoth(nameOf(on.name), 'w');
      await delay(LONG_MS);
      stage.links.heal();
      return cameOf(stage, on.name);
    },
  },
  {
    name: 'The link loses what the primary sends',
    how: 'one direction cut for 6 s',
    expected: 'stays',
    brief: true,
    race: true,
    async play(stage) {
      const { on, other } = await stage.roles();
      stage.links.cut(nameOf(on.name), nameOf(other.name));
      await stage.untilSettled(on, other);
      await delay(LONG_MS);
      return cameOf(stage, on.name);
    },
  },
  {
    name: 'The link loses what the backup sends',
    how: 'the other direction cut for 6 s',
    expected: 'stays',
    brief: true,
    race: true,
    async play(stage) {
      const { on, other } = await stage.roles();
      stage.links.cut(nameOf(other.name), nameOf(on.name));
      await stage.untilSettled(on, other);
      await delay(LONG_MS);
      return cameOf(stage, on.name);
    },
  },
  {
    name: 'The link flaps',
    how: 'cut for a quarter of the silence that counts as loss, and healed, ten times',
    expected: 'stays',
    brief: true,
    race: true,
    async play(stage) {
      const { on } = await stage.roles();
      for (let i = 0; i < 10; i++) {
        stage.links.cutBoth('alpha', 'beta');
        await delay(FLAP_MS);
        stage.links.heal();
        await delay(FLAP_MS);
      }
      return cameOf(stage, on.name);
    },
  },
  {
    name: 'The witness dies and comes back',
    how: 'kill -9 of Redis, restarted on its data after 6 s',
    expected: 'stays',
    async play(stage) {
      const { on } = await stage.roles();
      await stage.witness.kill();
      await delay(LONG_MS);
      await stage.witness.boot();
      return cameOf(stage, on.name);
    },
  },
  {
    name: 'The witness is frozen, then the primary host dies',
    how: 'SIGSTOP of Redis, power cut, SIGCONT after 6 s',
    expected: 'moves',
    brief: true,
    async play(stage) {
      const { on, other } = await stage.roles();
      stage.witness.signal('SIGSTOP');
      await on.pullPlug();
      await delay(LONG_MS);
      if ((await stage.serving()) !== undefined) throw new Error('promoted without a witness');
      stage.witness.signal('SIGCONT');
      await stage.untilServes(other);
      return cameOf(stage, on.name);
    },
  },
  {
    name: 'The witness restarts, and the primary host dies before it could confirm',
    how: 'Redis killed, power cut, Redis restarted; then a failover with who fenced, and what was lost accepted',
    expected: 'waits',
    async play(stage) {
      const { on, other } = await stage.roles();
      await stage.witness.kill();
      await on.pullPlug();
      await stage.witness.boot();
      await delay(LONG_MS);
      const served = await stage.serving();
      await other.client.failover({
        vm: VM,
        force: true,
        fencedBy: 'the power cut of this test',
        acceptDataLoss: true,
      });
      return served === undefined ? 'waits' : 'moves';
    },
  },
  {
    name: 'The witness comes back empty',
    how: 'Redis killed, its data removed, restarted; then the operator confirms',
    expected: 'stays',
    async play(stage) {
      const { on } = await stage.roles();
      await stage.witness.kill();
      await stage.witness.forgetEverything();
      await stage.witness.boot();
      await delay(LONG_MS);
      const outcome = await cameOf(stage, on.name);
      await confirmIfAsked(stage, on);
      return outcome;
    },
  },
  {
    name: 'The witness comes back without its last writes',
    how: 'Redis killed and restarted on an older copy of its data, taken before a failover',
    expected: 'stays',
    brief: true,
    async play(stage) {
      const kept = await stage.witness.keep();
      const first = await stage.roles();
      await first.on.pullPlug();
      await stage.untilServes(first.other);
      const { on } = await stage.roles();
      await stage.witness.kill();
      await kept.restore();
      await stage.witness.boot();
      await first.on.start();
      await delay(LONG_MS);
      const outcome = await cameOf(stage, on.name);
      await confirmIfAsked(stage, on);
      return outcome;
    },
  },
  {
    name: "The guest's hypervisor dies",
    how: 'kill -9 of the QEMU alone; its agent hands the VM over',
    expected: 'moves',
    brief: true,
    async play(stage) {
      const { on, other } = await stage.roles();
      const hypervisor = on.qemuPid(VM);
      if (hypervisor === undefined) throw new Error(`${on.name} runs no hypervisor`);
      process.kill(hypervisor, 'SIGKILL');
      await stage.untilServes(other);
      return cameOf(stage, on.name);
    },
  },
  {
    name: 'A planned switchover',
    how: 'romulus switchover',
    expected: 'moves',
    brief: true,
    async play(stage) {
      const { on, other } = await stage.roles();
      await on.client.switchover(VM);
      await stage.untilServes(other);
      return cameOf(stage, on.name);
    },
  },
];

function nameOf(agent: string): 'alpha' | 'beta' {
  return agent === 'alpha' ? 'alpha' : 'beta';
}
