/** One seeded run: protect, let faults happen, heal everything, and see whether somebody serves. */

import { imageServes } from '../../shared/control/backup-claim.ts';
import type { Policy } from '../../shared/control/policy.ts';
import { awaitsOperator } from '../../shared/control/primary-claim.ts';
import { Violation } from './checks.ts';
import { faults } from './faults.ts';
import type { Node } from './node.ts';
import { World } from './world.ts';

const SETTLE_MS = 1000;
const TROUBLE_MS = 5000;
const HEAL_MS = 4000;

export interface SeedResult {
  seed: number;
  /** undefined: every invariant held. */
  violation?: string;
  /** Epochs whose output clients saw. */
  shown: number;
  promotions: number;
  /** False if no copy was left that L1 could ask to serve. */
  servable: boolean;
  log: string[];
}

export function runSeed(
  seed: number,
  options: { logging?: boolean; policy?: Partial<Policy> } = {},
): SeedResult {
  const world = new World(seed, { ...options, policy: { ...drawPolicy(seed), ...options.policy } });
  let servable = true;
  let violation: string | undefined;
  try {
    const [a, b] = world.nodes;
    a.bootGuest();
    for (const node of world.nodes) node.startAgent();
    world.run(SETTLE_MS);
    if (a.machine?.as !== 'primary' || a.machine.state.phase !== 'PROTECTED') {
      throw new Violation(`L1 not protected after ${SETTLE_MS} ms of calm: ${b.machine?.state.phase}`);
    }
    trouble(world);
    servable = heal(world);
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    violation = error.message;
    world.note(`VIOLATION ${violation}`);
  }
  const { shown, promotions } = world.checks;
  return {
    seed,
    shown,
    promotions,
    servable,
    log: world.log,
    ...(violation === undefined ? {} : { violation }),
  };
}

function drawPolicy(seed: number): Partial<Policy> {
  return { onBackupLoss: seed % 4 === 3 ? 'freeze' : 'solo', fence: seed % 8 === 5 ? 'required' : 'none' };
}

function trouble(world: World): void {
  const { random, timeline } = world;
  world.lossRatio = random.chance(0.3) ? random.between(0, 0.2) : 0;
  world.strikeRatio = random.chance(0.2) ? 0.0005 : 0;
  const meanGapMs = random.between(60, 900);
  const end = timeline.nowMs + TROUBLE_MS;
  while (timeline.nowMs < end) {
    world.run(Math.min(end, timeline.nowMs + random.between(0, 2 * meanGapMs)));
    const fault = random.pick(faults);
    world.note(`--- ${fault.name}`);
    fault(world);
  }
}

/** Everything comes back; an operator confirms where a witness forgot. True if there was a copy that had to serve. */
function heal(world: World): boolean {
  world.note('--- heal');
  world.cut.clear();
  Object.assign(world, { lossRatio: 0, strikeRatio: 0 });
  if (world.witness.state === 'frozen') world.witness.thaw();
  if (world.witness.state === 'down') world.witness.start('everything');
  for (const node of world.nodes) {
    node.stalledUntilMs = 0;
    node.startAgent();
  }
  const start = world.timeline.nowMs;
  let shownBefore = 0;
  while (world.timeline.nowMs < start + HEAL_MS) {
    shownBefore = world.checks.shown;
    world.run(world.timeline.nowMs + 500);
    operate(world);
  }
  if (world.checks.shown > shownBefore) return true;
  if (!world.nodes.some((node) => canServe(node, world))) return false;
  throw new Violation('L1 a copy could serve and none does');
}

/** A person who looks every half second, and confirms or forces only what they can see to be safe. */
function operate(world: World): void {
  for (const node of world.nodes) {
    const { machine, peer } = node;
    if (machine?.as === 'primary' && peer.guest === undefined && awaitsOperator(machine.state)) {
      // What the peer showed alone before it died may be lost with the witness's memory of it.
      world.checks.acceptLoss();
      node.order('confirm');
    }
    if (machine?.as === 'backup' && machine.state.image.whole && peer.guest === undefined)
      node.order('force');
  }
}

/** A living guest whose node may own it, or an image that the register lets its node promote. */
function canServe(node: Node, world: World): boolean {
  if (node.guest !== undefined) return true;
  const { register } = world.witness;
  const { machine } = node;
  if (machine?.as !== 'backup' || register === undefined) return false;
  if (register.runId !== world.witness.store.runId) return false;
  const promotable =
    register.mode === 'PROTECTED' || (register.owner === node.name && register.mode === 'SWITCHING');
  return promotable && imageServes(machine.state, register);
}
