/** Ways in which the two hosts and the witness can lose each other, each held and each flapping; 24 in all. */

import { setTimeout as delay } from 'node:timers/promises';
import type { HostName } from '../../cli/lab/lab.ts';
import type { Stage } from './stage.ts';

/** By the part they have when the partition begins. */
type Part = 'primary' | 'backup' | 'witness';
type Cut = readonly [from: Part, to: Part];

const both = (a: Part, b: Part): Cut[] => [
  [a, b],
  [b, a],
];

const cuts: readonly [what: string, cuts: Cut[]][] = [
  ['primary | backup', both('primary', 'backup')],
  ['primary -> backup', [['primary', 'backup']]],
  ['backup -> primary', [['backup', 'primary']]],
  ['primary | witness', both('primary', 'witness')],
  ['primary -> witness', [['primary', 'witness']]],
  ['witness -> primary', [['witness', 'primary']]],
  ['backup | witness', both('backup', 'witness')],
  ['backup -> witness', [['backup', 'witness']]],
  ['primary alone', [...both('primary', 'backup'), ...both('primary', 'witness')]],
  ['backup alone', [...both('primary', 'backup'), ...both('backup', 'witness')]],
  ['witness alone', [...both('primary', 'witness'), ...both('backup', 'witness')]],
  ['each alone', [...both('primary', 'backup'), ...both('primary', 'witness'), ...both('backup', 'witness')]],
];

export interface Partition {
  name: string;
  /** Cuts for a time that `next` chooses; everything is whole again when it resolves. */
  play(stage: Stage, next: () => number): Promise<void>;
}

/** In silences that count as loss. */
const HELD = { least: 1, most: 4 };
const FLAPS = { least: 3, most: 10 };
const FLAP = { least: 0.1, most: 1.5 };

export const partitions: readonly Partition[] = cuts.flatMap(([what, some]) => [
  {
    name: `${what}, held`,
    async play(stage, next) {
      await apply(stage, some);
      await delay(between(HELD, next) * stage.silenceMs);
      stage.links.heal();
    },
  },
  {
    name: `${what}, flapping`,
    async play(stage, next) {
      for (let flaps = between(FLAPS, next); flaps > 0; flaps--) {
        await apply(stage, some);
        await delay(between(FLAP, next) * stage.silenceMs);
        stage.links.heal();
        await delay(between(FLAP, next) * stage.silenceMs);
      }
    },
  },
]);

/** Of a moment without anybody who serves, the host that came first in the config has the primary's part. */
async function apply(stage: Stage, some: readonly Cut[]): Promise<void> {
  const { on, other } = (await stage.serving()) ?? { on: stage.agents[0], other: stage.agents[1] };
  const hosts: Record<Part, HostName> = {
    primary: on.name as HostName,
    backup: other.name as HostName,
    witness: 'w',
  };
  for (const [from, to] of some) stage.links.cut(hosts[from], hosts[to]);
}

function between({ least, most }: { least: number; most: number }, next: () => number): number {
  return least + next() * (most - least);
}
