/** The network gate on a Xen vif: held without acknowledgements, and one TCP connection across the power cut of a host. */

import { setTimeout as delay } from 'node:timers/promises';
import { cutAndGoOn, type FailoverReport, protectedPair, type Say, untilProtected } from './failover.ts';
import type { XenHost } from './testbed/host.ts';
import type { HostName, XenPair } from './testbed/pair.ts';
import { StatusWatch } from './testbed/status-watch.ts';

const LIMIT_MS = 240_000;
const ECHO_PORT = 7;
export const GUEST_ADDRESS = '10.0.0.9';
export const BRIDGE = 'br0';
export const MAC = '00:16:3e:00:00:09';
export const VIF = 'vif-guest';
/** How long the backup acknowledges nothing, well within the silence that both agents bear. */
const STOPPED_MS = 12_000;
/** What was on the way when the backup was stopped has come by then. */
const SETTLE_MS = 3_000;

export interface NetworkReport {
  /** Each came over the same TCP connection, from a program on the host that stays. */
  answersBeforeCut: number;
  answersAfterCut: number;
  wrongAnswers: number;
  connectionSurvived: boolean;
  /** Of an answer, as the client saw it, while epochs of `epochMs` were acknowledged. */
  answerMs: { p50: number; max: number };
  /** While the backup's agent stood still: answers that came, and packets that `romulus status` said were held. */
  answersWithoutAcknowledgement: number;
  heldPackets: number;
  /** From the power cut to the first answer of the guest on the other host. */
  firstAnswerAfterCutMs: number;
  failover: FailoverReport;
}

/** Puts eth0 and the guest's vif on one bridge, which takes over the host's address. */
export function bridgeCommand(name: HostName): string {
  const address = name === 'a' ? '10.0.0.1' : '10.0.0.2';
  return [
    `ip link add ${BRIDGE} type bridge forward_delay 0`,
    `ip addr del ${address}/24 dev eth0`,
    `ip link set eth0 master ${BRIDGE}`,
    `ip link set ${BRIDGE} up`,
    `ip addr add ${address}/24 dev ${BRIDGE}`,
  ].join(' && ');
}

/** What the guest needs to be on that bridge: on its command line, in xl's configuration, in agent.yaml. */
export const NETWORKED = {
  extra: `ip=${GUEST_ADDRESS}`,
  vif: `'vif=["vifname=${VIF},mac=${MAC},bridge=${BRIDGE}"]'`,
  networks: `networks: [{ tap: ${VIF}, bridge: ${BRIDGE}, mac: "${MAC}", addresses: [${GUEST_ADDRESS}] }]`,
};

/** A program on a host that talks to one of the guest's services over one TCP connection. */
export class Talker {
  readonly #host: XenHost;
  readonly #port: number;
  #command = 0;

  constructor(host: XenHost, port: number) {
    this.#host = host;
    this.#port = port;
  }

  start(): void {
    this.#command = this.#host.start(`exec node talker.mjs ${GUEST_ADDRESS} ${this.#port}`);
  }

  /** How long each answer took, in ms. */
  get answersMs(): number[] {
    return [...this.#output.matchAll(/^answer \d+ after (\d+) ms$/gm)].map(([, ms]) => Number(ms));
  }

  get wrong(): number {
    return this.#output.split('WRONG').length - 1;
  }

  get ended(): boolean {
    return this.#host.ended(this.#command) || this.#output.includes('ended');
  }

  get #output(): string {
    return this.#host.output(this.#command);
  }

  /** Resolves with the moment at which `count` answers have come. */
  async answered(count: number): Promise<number> {
    await this.#host.printed(this.#command, new RegExp(`^answer ${count} after`, 'm'), LIMIT_MS);
    return performance.now();
  }
}

/** Protects a guest that a client talks to, stops the backup's agent for a while, then cuts the power of the guest's host. */
export async function networkAcrossFailover(epochs: number, say: Say): Promise<NetworkReport> {
  const { extra, vif, networks } = NETWORKED;
  const pair = await protectedPair(say, {
    extra,
    settings: vif,
    guest: networks,
    prepare: bridgeCommand,
  });
  return ending(pair, say, () => talkAcross(pair, epochs, say));
}

/** The pair ends with the work; if that fails, with what its agents said last. */
export async function ending<T>(pair: XenPair, say: Say, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    say(`what the agents said last:\n${pair.agentLog('a').slice(-2000)}\n${pair.agentLog('b').slice(-2000)}`);
    throw error;
  } finally {
    pair.close();
  }
}

export interface TalkHooks {
  /** The guest is protected. */
  onProtected?: () => Promise<void>;
  /** At the moment of the cut. */
  onCut?: () => void;
}

export async function talkAcross(
  pair: XenPair,
  epochs: number,
  say: Say,
  { onProtected, onCut }: TalkHooks = {},
): Promise<NetworkReport> {
  const watch = new StatusWatch(pair.host('a'), say);
  await untilProtected(watch);
  await onProtected?.();
  const talker = new Talker(pair.host('b'), ECHO_PORT);
  talker.start();
  await talker.answered(3);
  say(`the guest answers: ${talker.answersMs.join(', ')} ms`);
  const stopped = await withoutAcknowledgements(pair, watch, talker, say);
  await talker.answered(talker.answersMs.length + 3);
  let [cutMs, before] = [0, 0];
  const told = (line: string): void => {
    if (line.startsWith('cut ')) {
      [cutMs, before] = [performance.now(), talker.answersMs.length];
      onCut?.();
    }
    say(line);
  };
  const failover = await cutAndGoOn(pair, 'a', epochs, told);
  const answersMs = talker.answersMs.slice(0, before).sort((x, y) => x - y);
  const firstMs = await talker.answered(before + 1);
  await talker.answered(before + 5);
  say(`the same connection goes on: ${talker.answersMs.slice(before).join(', ')} ms`);
  return {
    answersBeforeCut: before,
    answersAfterCut: talker.answersMs.length - before,
    wrongAnswers: talker.wrong,
    connectionSurvived: !talker.ended,
    answerMs: { p50: answersMs[answersMs.length >> 1] ?? 0, max: answersMs.at(-1) ?? 0 },
    ...stopped,
    firstAnswerAfterCutMs: Math.round(firstMs - cutMs),
    failover,
  };
}

/** Stops the backup's agent as a whole: nothing is acknowledged, so nothing may leave. */
async function withoutAcknowledgements(
  pair: XenPair,
  watch: StatusWatch,
  talker: Talker,
  say: Say,
): Promise<Pick<NetworkReport, 'answersWithoutAcknowledgement' | 'heldPackets'>> {
  const backup = pair.host('b');
  await backup.run('pkill -STOP -f "main.mjs agent"');
  await delay(SETTLE_MS);
  const before = talker.answersMs.length;
  await delay(STOPPED_MS);
  const answersWithoutAcknowledgement = talker.answersMs.length - before;
  const heldPackets = watch.statuses.at(-1)?.held?.packets ?? 0;
  await backup.run('pkill -CONT -f "main.mjs agent"');
  say(
    `no acknowledgements for ${STOPPED_MS} ms: ${answersWithoutAcknowledgement} answers, ${heldPackets} packets held`,
  );
  return { answersWithoutAcknowledgement, heldPackets };
}
