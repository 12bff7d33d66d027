/** The replicated disk of a Xen guest: records that a client was told are durable, across the power cut of a host. */

import { protectedPair, type Say } from './failover.ts';
import { bridgeCommand, ending, NETWORKED, type NetworkReport, Talker, talkAcross } from './network.ts';
import type { HostName, XenPair } from './testbed/pair.ts';

const LIMIT_MS = 240_000;
const IMAGE = '/var/lib/romulus/guest.img';
const DEVICE = '/dev/romulus/guest/disk';
const RECORDS_PORT = 8;
const RECORDS = 3;

export interface DiskReport {
  /** Records that the guest had said to be durable, before the cut and in all. */
  recordsBeforeCut: number;
  records: number;
  /** Of these, missing on the disk that the second host has once the guest has ended there. */
  lostRecords: number;
  recordsConnectionSurvived: boolean;
  /** What e2fsck ends with on that disk, its journal replayed; 0 is clean. */
  fileSystemErrors: number;
  network: NetworkReport;
}

/** Protects a guest that writes a client's records to its disk, cuts the power of its host, and reads the other host's disk. */
export async function diskAcrossFailover(epochs: number, say: Say): Promise<DiskReport> {
  const { extra, vif, networks } = NETWORKED;
  const pair = await protectedPair(say, {
    extra: `${extra} disk=/dev/xvda`,
    settings: `${vif} 'disk=["phy:${DEVICE},xvda,w"]'`,
    guest: `${networks}, disk: ${IMAGE}`,
    prepare: (name) => `${bridgeCommand(name)} && ${prepareDisk(name)}`,
  });
  return ending(pair, say, async () => {
    const talker = new Talker(pair.host('b'), RECORDS_PORT);
    let recordsBeforeCut = 0;
    const network = await talkAcross(pair, epochs, say, {
      onProtected: async () => {
        talker.start();
        await talker.answered(RECORDS);
      },
      onCut: () => {
        recordsBeforeCut = talker.answersMs.length;
      },
    });
    await talker.answered(recordsBeforeCut + RECORDS);
    say('the guest keeps more records on the other host');
    const recordsConnectionSurvived = !talker.ended;
    const records = talker.answersMs.length;
    return {
      recordsBeforeCut,
      records,
      recordsConnectionSurvived,
      ...(await found(pair, records, say)),
      network,
    };
  });
}

function prepareDisk(name: HostName): string {
  const there = 'modprobe xen-blkback && mkdir -p /var/lib/romulus';
  return name === 'a' ? `${there} && truncate -s 64M ${IMAGE} && mkfs.ext4 -q -F ${IMAGE}` : there;
}

/** Ends the guest and reads its disk; the journal is replayed by the mount, as after any power cut. */
async function found(
  pair: XenPair,
  records: number,
  say: Say,
): Promise<Pick<DiskReport, 'lostRecords' | 'fileSystemErrors'>> {
  const b = pair.host('b');
  await b.run('xl destroy guest', LIMIT_MS);
  const kept = new Set(
    (await b.run(`mount ${DEVICE} /mnt && cat /mnt/records && umount /mnt`, LIMIT_MS)).split('\n'),
  );
  const check = await b.finished(b.start(`e2fsck -f -n ${DEVICE}`), LIMIT_MS);
  say(check.output);
  const said = Array.from({ length: records }, (_, i) => `question ${i + 1}`);
  return { lostRecords: said.filter((each) => !kept.has(each)).length, fileSystemErrors: check.status };
}
