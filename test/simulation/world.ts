/** Two hosts, a witness and the network between them, under one seed: a run that can be replayed step by step. */

import type { Party } from '../../shared/control/authority.ts';
import type { WitnessEffect } from '../../shared/control/dialogue.ts';
import { defaultPolicy, type Policy } from '../../shared/control/policy.ts';
import type { CasResult, RegisterReading } from '../../shared/control/register.ts';
import { Checks } from './checks.ts';
import type { Message } from './message.ts';
import { Node } from './node.ts';
import { Random } from './random.ts';
import { Timeline } from './timeline.ts';
import { SimulatedWitness } from './witness.ts';

/** Shorter than in production where only patience is concerned, so that a run holds more. */
const quickPolicy: Policy = {
  ...defaultPolicy,
  holdoffMs: 100,
  holdoffMaxMs: 800,
  isolateAfterMs: 600,
  reclaimAfterMs: 500,
};

export class World {
  readonly random: Random;
  readonly timeline = new Timeline();
  readonly checks = new Checks();
  readonly policy: Policy;
  readonly witness: SimulatedWitness;
  readonly nodes: readonly [Node, Node];
  /** Each direction of the link, and each node's way to the witness, by sender's name. */
  readonly cut = new Set<string>();
  private readonly deliveredMs = new Map<string, number>();
  lossRatio = 0;
  /** Chance that an agent dies before any one effect. */
  strikeRatio = 0;
  readonly log: string[] = [];
  private readonly logging: boolean;

  constructor(seed: number, options: { logging?: boolean; policy?: Partial<Policy> } = {}) {
    this.logging = options.logging === true;
    this.random = new Random(seed);
    this.policy = { ...quickPolicy, ...options.policy };
    this.witness = new SimulatedWitness(this.timeline, this.random, (state) => {
      this.note(`witness: ${JSON.stringify(state)}`);
      this.checks.wrote(state);
    });
    this.nodes = [new Node('a', this), new Node('b', this)];
  }

  party(node: Node): Party {
    return { vm: 'vm', self: node.name, peer: this.peerOf(node).name };
  }

  peerOf(node: Node): Node {
    return node === this.nodes[0] ? this.nodes[1] : this.nodes[0];
  }

  strikes(): boolean {
    return this.strikeRatio > 0 && this.random.chance(this.strikeRatio);
  }

  send(from: Node, message: Message): void {
    if (this.cut.has(from.name) || this.random.chance(this.lossRatio)) return;
    const deliver = () => {
      if (!this.cut.has(from.name)) this.peerOf(from).receive(message);
    };
    const { nowMs } = this.timeline;
    const delayMs = this.random.chance(0.02) ? this.random.between(5, 60) : this.random.between(0.1, 4);
    // One session delivers in order; what an older one still had on its way may come once more, but never its full copy.
    const atMs = Math.max(nowMs + delayMs, this.deliveredMs.get(from.name) ?? 0);
    this.deliveredMs.set(from.name, atMs);
    this.timeline.after(atMs - nowMs, deliver);
    const ofSession =
      message.kind === 'unfit' || message.kind === 'resync' || (message.kind === 'commit' && message.whole);
    const replayed = !ofSession && this.lossRatio > 0 && this.random.chance(0.02);
    if (replayed) this.timeline.after(atMs - nowMs + this.random.between(0, 400), deliver);
  }

  ask(node: Node, effect: WitnessEffect, answer: (answer: RegisterReading | CasResult) => void): void {
    this.witness.request(effect, () => !this.cut.has(`${node.name}-witness`), answer);
  }

  run(untilMs: number): void {
    const [a, b] = this.nodes;
    while (this.timeline.step(untilMs)) {
      if (a.gate.isOpen(a.localMs) && b.gate.isOpen(b.localMs)) this.checks.oneOpenGate([a.name, b.name]);
      if (this.logging) this.logChanges();
    }
  }

  note(line: string): void {
    if (this.logging) this.log.push(`${this.timeline.nowMs.toFixed(1).padStart(8)} ${line}`);
  }

  private before = '';

  private logChanges(): void {
    const now = this.nodes
      .map((node) => {
        const { machine, guest, gate } = node;
        const machineText =
          machine === undefined ? 'down' : `${machine.as} ${machine.state.phase} t${machine.state.term}`;
        const guestText = guest === undefined ? 'no guest' : guest.running ? 'runs' : 'paused';
        return `${node.name}: ${machineText}, ${guestText}, gate ${gate.mode}`;
      })
      .join(' | ');
    if (now !== this.before) this.note(now);
    this.before = now;
  }
}
