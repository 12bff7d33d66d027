/** A network segment of the lab's own: a network namespace with a bridge, on which both hosts' taps and the client meet. */

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { accessSync, constants } from 'node:fs';
import { asRomulusError, RomulusError } from '../../shared/errors.ts';
import type { NetworkSpec } from '../../shared/vm.ts';

const BRIDGE = 'br0';
const CLIENT_ADDRESS = '10.77.0.1/24';
export const GUEST_ADDRESS = '10.77.0.2';
export const GUEST_PREFIXED = `${GUEST_ADDRESS}/24`;
const GUEST_MAC = '52:54:00:77:00:02';

export class Segment {
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
  }

  /** Why this process cannot make one; undefined if it can. */
  static missing(): string | undefined {
    if (process.getuid?.() !== 0) return 'network namespaces and taps take root';
    try {
      accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
      execFileSync('ip', ['-V'], { stdio: 'ignore' });
      return undefined;
    } catch (thrown) {
      return asRomulusError(thrown).message;
    }
  }

  static create(): Segment {
    const segment = new Segment(`romulus-${randomBytes(3).toString('hex')}`);
    ip('netns', 'add', segment.name);
    segment.#inside('link', 'set', 'lo', 'up');
    segment.#inside('link', 'add', BRIDGE, 'type', 'bridge');
    segment.#inside('address', 'add', CLIENT_ADDRESS, 'dev', BRIDGE);
    segment.#inside('link', 'set', BRIDGE, 'up');
    return segment;
  }

  /** What a command line begins with to run in here. */
  get launcher(): string[] {
    return ['ip', 'netns', 'exec', this.name];
  }

  /** The guest's network device as one host's config describes it; `host` makes its tap's name its own. */
  network(host: 'a' | 'b'): NetworkSpec {
    return { tap: `tap-${host}`, bridge: BRIDGE, mac: GUEST_MAC, addresses: [GUEST_ADDRESS] };
  }

  /** Cuts the link between the two agents, which is the segment's loopback, or mends it; clients and guests are not on it. */
  cutLink(cut: boolean): void {
    this.#inside('link', 'set', 'lo', cut ? 'down' : 'up');
  }

  /** Taps, bridge and connections go with it, once the processes in it are gone. */
  remove(): void {
    ip('netns', 'delete', this.name);
  }

  #inside(...args: string[]): void {
    ip('-n', this.name, ...args);
  }
}

function ip(...args: string[]): void {
  try {
    execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  } catch (cause) {
    const { stderr } = cause as { stderr?: Buffer };
    throw new RomulusError('PREREQUISITE', `ip ${args.join(' ')}: ${stderr?.toString().trim() || cause}`, {
      hint: 'romulus doctor',
      cause,
    });
  }
}
