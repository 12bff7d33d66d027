/** What can go wrong between two hosts and a witness; each undoes itself after a while or is left for the heal. */

import type { Survives } from '../../shared/control/memory-register.ts';
import type { Node } from './node.ts';
import type { World } from './world.ts';

type Fault = (world: World) => void;

const someNode = (world: World): Node => world.random.pick(world.nodes);

function later(world: World, lowMs: number, highMs: number, undo: () => void): void {
  world.timeline.after(world.random.between(lowMs, highMs), undo);
}

function crashAgent(world: World): void {
  const node = someNode(world);
  if (!node.agentUp) return;
  node.crash('agent');
  later(world, 20, 1500, () => node.startAgent());
}

function crashHost(world: World): void {
  const node = someNode(world);
  node.crash('host');
  later(world, 200, 3000, () => node.startAgent());
}

function stopAgent(world: World): void {
  const node = someNode(world);
  node.stalledUntilMs = world.timeline.nowMs + world.random.between(20, 2500);
}

function cutLink(world: World): void {
  for (const node of world.nodes) world.cut.add(node.name);
  later(world, 20, 2500, () => {
    for (const node of world.nodes) world.cut.delete(node.name);
  });
}

function loseOneWay(world: World): void {
  const { name } = someNode(world);
  world.cut.add(name);
  later(world, 20, 2000, () => world.cut.delete(name));
}

function flapLink(world: World): void {
  for (let i = 0; i < 6; i += 1) world.timeline.after(i * 150, () => loseOneWayBriefly(world));
}

function loseOneWayBriefly(world: World): void {
  const { name } = someNode(world);
  world.cut.add(name);
  later(world, 50, 120, () => world.cut.delete(name));
}

function isolateNode(world: World): void {
  const node = someNode(world);
  const ways = [node.name, node.peer.name, `${node.name}-witness`];
  for (const way of ways) world.cut.add(way);
  later(world, 50, 2500, () => {
    for (const way of ways) world.cut.delete(way);
  });
}

function cutFromWitness(world: World): void {
  const way = `${someNode(world).name}-witness`;
  world.cut.add(way);
  later(world, 50, 2500, () => world.cut.delete(way));
}

function freezeWitness(world: World): void {
  if (world.witness.state !== 'up') return;
  world.witness.state = 'frozen';
  later(world, 30, 2000, () => world.witness.thaw());
}

function killWitness(survives: Survives): Fault {
  return function restartWitness(world: World): void {
    if (world.witness.state === 'down') return;
    world.witness.die();
    later(world, 10, 1500, () => {
      if (world.witness.state === 'down') world.witness.start(survives);
    });
  };
}

function switchOver(world: World): void {
  someNode(world).order('switchover');
}

function askFailover(world: World): void {
  someNode(world).order('failover');
}

/** An operator who checked that the other host is dead. */
function forceFailover(world: World): void {
  const node = someNode(world);
  if (node.peer.guest === undefined) node.order(world.random.chance(0.5) ? 'force' : 'force-with-loss');
}

/** Common faults stand more than once, so that they come more often and meet each other. */
export const faults: readonly Fault[] = [
  crashAgent,
  crashAgent,
  crashHost,
  stopAgent,
  stopAgent,
  cutLink,
  cutLink,
  loseOneWay,
  flapLink,
  isolateNode,
  cutFromWitness,
  freezeWitness,
  freezeWitness,
  killWitness('everything'),
  killWitness('all-but-last-write'),
  switchOver,
  switchOver,
  askFailover,
  forceFailover,
];
