/** What the authorities of a simulated host decide, done to its gate, guest, image and record. */

import type { SharedEffect } from '../../shared/control/authority.ts';
import type { BackupEffect } from '../../shared/control/backup-state.ts';
import type { PrimaryEffect } from '../../shared/control/primary-state.ts';
import type { Node } from './node.ts';

/** How long a simulated power switch takes to say that the peer is off. */
const FENCE_MS = 30;

export function carryOutPrimary(node: Node, effect: PrimaryEffect): void {
  const { gate, guest, epochs, localMs } = node;
  switch (effect.do) {
    case 'openGate':
      gate.allow(effect.epoch, effect.untilMs, localMs);
      break;
    case 'openGateFully':
      epochs.dropUnacked();
      gate.open(localMs);
      break;
    case 'holdOutput':
      gate.hold();
      break;
    case 'closeGate':
      gate.shut();
      break;
    case 'renew':
      if (guest !== undefined) {
        const term = node.machine?.state.term ?? 0;
        node.send({ kind: 'commit', term, state: guest.state, sentMs: localMs, whole: false, renew: true });
      }
      break;
    case 'pauseGuest':
      if (guest !== undefined) guest.running = false;
      break;
    case 'prepareHandOver':
      epochs.finalDue = true;
      break;
    case 'resumeGuest':
      epochs.finalDue = false;
      if (guest !== undefined) guest.running = true;
      break;
    case 'fence':
      node.endGuest();
      epochs.forget();
      epochs.finalDue = false;
      break;
    case 'resync':
      epochs.askResync();
      break;
    case 'stopResync':
      epochs.stopResync();
      break;
    case 'tellHandOver':
      node.send({ kind: 'handOver', term: effect.term, epoch: effect.epoch });
      break;
    default:
      carryOutShared(node, effect);
  }
}

export function carryOutBackup(node: Node, effect: BackupEffect): void {
  switch (effect.do) {
    case 'ack':
      node.send({ kind: 'ack', term: effect.term, epoch: effect.epoch, sentMs: node.answering });
      break;
    case 'answer':
      node.send({ kind: 'answer', term: effect.term, sentMs: node.answering });
      break;
    case 'admitResync':
      if (node.image !== undefined) node.image.whole = false;
      node.send({ kind: 'resyncAdmitted', term: effect.term });
      break;
    case 'proveFenced':
      node.alive(FENCE_MS, () => {
        if (node.peer.hostUp) node.peer.crash('host');
        node.feedBackup({ on: 'fenceResult', proven: true, detail: 'simulated power switch' });
      });
      break;
    case 'promote':
      node.promote(effect.term, effect.acceptDataLoss);
      break;
    default:
      carryOutShared(node, effect);
  }
}

function carryOutShared(node: Node, effect: SharedEffect): void {
  if (effect.do === 'persist') {
    node.world.checks.persist(node.name, effect.record);
    node.record = effect.record;
  } else if (effect.do === 'reject') node.send({ kind: 'reject', term: effect.term });
  else if (effect.do === 'read' || effect.do === 'cas') {
    const { life } = node;
    node.world.ask(node, effect, (answer) => {
      if (node.life === life) node.alive(0, () => node.feed({ on: 'answer', ask: effect.ask, answer }));
    });
  }
}
