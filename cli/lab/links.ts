/** Hosts in network namespaces of their own, joined pairwise by veth pairs whose directions can be cut one by one. */

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';

/** Frames to this MAC reach nobody: as good as a cut cable, and no error is reported to whoever sends. */
const NOBODY = '02:00:00:00:00:99';

export class Links<Name extends string> {
  readonly #namespaces: Map<Name, string>;
  readonly #names: readonly Name[];

  /** A namespace for each name, a link for each pair. Takes root. */
  constructor(names: readonly Name[]) {
    const run = randomBytes(3).toString('hex');
    this.#names = names;
    this.#namespaces = new Map(names.map((name) => [name, `rom-${run}-${name}`]));
    for (const namespace of this.#namespaces.values()) {
      ip('netns', 'add', namespace);
      ip('-n', namespace, 'link', 'set', 'lo', 'up');
    }
    for (const [a, b] of this.#pairs()) this.#join(a, b);
  }

  /** What a command line begins with to run on that host. */
  launcher(name: Name): string[] {
    return ['ip', 'netns', 'exec', this.#namespace(name)];
  }

  /** By which `from` reaches `to`. */
  address(to: Name, from: Name): string {
    const low = this.#index(to) < this.#index(from);
    return `10.${88 + this.#number(to, from)}.0.${low ? 1 : 2}`;
  }

  /** Nothing that `from` sends reaches `to` any more; the other direction is untouched. */
  cut(from: Name, to: Name): void {
    this.#send(from, to, NOBODY);
  }

  cutBoth(a: Name, b: Name): void {
    this.cut(a, b);
    this.cut(b, a);
  }

  /** What was cut between any two is whole again. */
  heal(): void {
    for (const [a, b] of this.#pairs()) {
      for (const [from, to] of [
        [a, b],
        [b, a],
      ] as const)
        this.#pointAt(from, to);
    }
  }

  /** Once the processes in them are gone. */
  remove(): void {
    for (const namespace of this.#namespaces.values()) ip('netns', 'delete', namespace);
  }

  #pairs(): [Name, Name][] {
    return this.#names.flatMap((a, i) => this.#names.slice(i + 1).map((b): [Name, Name] => [a, b]));
  }

  #join(a: Name, b: Name): void {
    const [inA, inB] = [this.#namespace(a), this.#namespace(b)];
    const [deviceA, deviceB] = [this.#device(b), this.#device(a)];
    ip('-n', inA, 'link', 'add', deviceA, 'type', 'veth', 'peer', 'name', deviceB, 'netns', inB);
    for (const [namespace, device, address] of [
      [inA, deviceA, this.address(a, b)],
      [inB, deviceB, this.address(b, a)],
    ] as const) {
      ip('-n', namespace, 'address', 'add', `${address}/24`, 'dev', device);
      ip('-n', namespace, 'link', 'set', device, 'up');
    }
    this.#pointAt(a, b);
    this.#pointAt(b, a);
  }

  /** A permanent neighbour entry, so that no ARP goes round what is cut. */
  #pointAt(from: Name, to: Name): void {
    const mac = ip(
      'netns',
      'exec',
      this.#namespace(to),
      'cat',
      `/sys/class/net/${this.#device(from)}/address`,
    ).trim();
    this.#send(from, to, mac);
  }

  /** Where frames of `from` for the address of `to` go. */
  #send(from: Name, to: Name, mac: string): void {
    const entry = [this.address(to, from), 'lladdr', mac, 'dev', this.#device(to), 'nud', 'permanent'];
    ip('-n', this.#namespace(from), 'neighbour', 'replace', ...entry);
  }

  /** The end of a link at a host is named after where it leads. */
  #device(towards: Name): string {
    return `to-${towards}`;
  }

  #number(a: Name, b: Name): number {
    const [low, high] = [this.#index(a), this.#index(b)].sort((x, y) => x - y) as [number, number];
    return low * this.#names.length + high;
  }

  #index(name: Name): number {
    return this.#names.indexOf(name);
  }

  #namespace(name: Name): string {
    return this.#namespaces.get(name) ?? '';
  }
}

function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8' });
}
