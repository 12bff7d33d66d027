/** What one simulated host says to the other. */

import type { GuestState } from './guest.ts';

export type Message =
  | { kind: 'beat'; term: number; sentMs: number }
  | { kind: 'answer'; term: number; sentMs: number }
  | { kind: 'unfit'; term: number }
  | { kind: 'reject'; term: number }
  | { kind: 'handOver'; term: number; epoch: number }
  | { kind: 'commit'; term: number; state: GuestState; sentMs: number; whole: boolean; renew: boolean }
  | { kind: 'ack'; term: number; epoch: number; sentMs: number }
  | { kind: 'resync'; term: number }
  | { kind: 'resyncAdmitted'; term: number };
