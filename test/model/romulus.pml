/* The rules of docs/safety.md as a model: two nodes, a witness, lost and late messages, restarts. Checked by run.sh.
 *
 * Time is abstract. The one assumption about it is rule 8: when B's promise runs out, every permit A was given and
 * every acknowledgement still under way have run out before. Anything else may take any time or never happen.
 * Each rule can be switched off with -DNO_...; run.sh expects a counter-example for every one of them.
 */

#ifndef EPOCHS
#define EPOCHS 3      /* epochs that A captures at most */
#endif
#ifndef WRITES
#define WRITES 5      /* writes the register takes at most */
#endif
#ifndef CRASHES
#define CRASHES 2     /* deaths of agent or host A, of agent or host B, and restarts of the witness: at most, each */
#endif

#ifdef NO_GATE
#define GATED 0
#else
#define GATED 1
#endif
#ifdef NO_RUNID
#define CONFIRMED 1
#else
#define CONFIRMED live
#endif

#define A 0
#define B 1

/* Modes of the register. */
#define PROTECTED 0
#define SOLO 1
#define SWITCHING 2

/* Phases of A, as in primary-state.ts, and of B, as in backup-state.ts. */
#define START 0
#define PROT 1
#define LEAVE 2
#define ALONE 3
#define JOIN 4
#define HAND 5
#define HANDED 6
#define GONE 7
#define STANDBY 0
#define CLAIM 1
#define ACTIVE 2
#define ENDED 3

/* The register: owner, mode, term, sync epoch, sequence number; `live`: last written in the witness's present run. */
bit owner = A; byte mode = PROTECTED; byte term = 1; byte syncEpoch = 0; byte seq = 1; bit live = 1;
/* Before its last write, for a witness that loses it. */
bit pOwner = A; byte pMode = PROTECTED; byte pTerm = 1; byte pSync = 0; byte pSeq = 1; bit pLive = 1;

/* A node's write on its way to the witness: 0 none, else the sequence number it expects. */
byte aWrite = 0; byte aMode; byte aTerm; byte aSync; bit aWaits = 0;
byte bWrite = 0; byte bTerm; byte bSync; bit bWaits = 0;

/* A: agent and guest alive, phase; epochs captured, sent, acknowledged to it, shown; permit: shown at most. */
bit aUp = 1; bit aGuest = 1; byte aPhase = PROT; bit aResync = 0;
byte captured = 0; byte sent = 0; byte acked = 0; byte shown = 0; byte permit = 0;
byte aDoubt = 0;         /* sequence number a write of A may still meet; 0 none */
bit joinAcked = 0;
/* What A knows of the witness: it has looked at its present run; that is a new one; B stood by since. */
bit aKnowsRun = 1; bit aSawRestart = 0; bit aProof = 0;

/* B: agent alive, phase; image whole and committed up to; part of the next epoch here; promise running; told to go on. */
bit bUp = 1; byte bPhase = STANDBY; bit whole = 1; byte committed = 0; bit part = 0; bit promise = 0; bit told = 0;
byte bDoubt = 0; bit lossOk = 0; bit bTorn = 0; bit bDiskAhead = 0; byte resumedAt = 0;

/* Under way, one bit an epoch. */
byte commits = 0; byte acks = 0;
byte aCrashes = 0; byte bCrashes = 0; byte wRestarts = 0;

#define ALL_SHOWN (aUp && aGuest && aPhase == ALONE)
#define A_OPEN (ALL_SHOWN || (aGuest && permit > 0) || (!GATED && aUp && aGuest && aPhase < HAND))
#define SERVES_P (owner == A && mode == PROTECTED && whole && committed >= syncEpoch)
#define SERVES_B (owner == B && whole && committed >= syncEpoch)

/* Every write remembers what it replaces and confirms the run. */
inline write(o, m, t, s) {
  pOwner = owner; pMode = mode; pTerm = term; pSync = syncEpoch; pSeq = seq; pLive = live;
  owner = o; mode = m; term = t; syncEpoch = s; seq = seq + 1; live = 1
}

inline goAlone() {
  aPhase = ALONE; permit = 0; shown = captured; sent = captured; acked = captured; commits = 0; acks = 0;
  aDoubt = 0; aResync = 1; joinAcked = 0
}

inline aGone() { aPhase = GONE; aGuest = 0; permit = 0; aDoubt = 0 }

/* B resumes the VM. Partial epochs are dropped; disk writes were held with their epoch. */
inline promote() {
#ifdef NO_ATOMIC
  bTorn = part;
#endif
#ifdef NO_BARRIER
  bDiskAhead = part;
#endif
  bPhase = ACTIVE; resumedAt = committed; part = 0; bDoubt = 0; bWaits = 0
}

/* A hears what the register holds now, by an answer or a look. */
inline aAdopts() {
  if
  :: owner == B && mode == SWITCHING && aPhase == HAND -> aPhase = HANDED; aDoubt = 0; told = 1
  :: owner == B && mode == SWITCHING && aPhase == HANDED -> skip
  :: owner == B && !(mode == SWITCHING && (aPhase == HAND || aPhase == HANDED)) -> aGone()
  :: owner == A && aPhase == START ->
#ifdef NO_SETTLE
     if :: mode == SOLO -> goAlone() :: else -> aPhase = LEAVE; aResync = 1; aDoubt = seq fi
#else
     aPhase = LEAVE; aResync = 1; aDoubt = seq
#endif
  :: owner == A && aPhase != START ->
     if :: aDoubt != 0 && aDoubt != seq -> aDoubt = 0 :: else fi;
     if
     :: mode == SOLO && aDoubt == 0 && (aPhase == LEAVE || aPhase == HANDED || aPhase == PROT || aPhase == HAND) -> goAlone()
     :: mode == PROTECTED && aPhase == JOIN && joinAcked && syncEpoch <= acked && syncEpoch != 0 && aDoubt == 0 ->
        aPhase = PROT; aResync = 0
     :: else
     fi
  fi;
  if :: aKnowsRun -> skip :: else -> aKnowsRun = 1; aProof = 0 fi;
  if :: !live -> aSawRestart = 1 :: else -> aSawRestart = 0; aProof = 0 fi
}

/* Puts a write of A on its way. It is bound to the run of the witness that A knows: a restart drops it. */
inline aSends(m, t, s) {
  aWrite = seq; aMode = m; aTerm = t; aSync = s; aWaits = 1; aDoubt = seq
}

#ifdef NO_RUN_BOUND
#define A_BOUND 1
#else
#define A_BOUND aKnowsRun
#endif
#ifdef NO_PROOF
#define A_MAY_WRITE A_BOUND
#else
#define A_MAY_WRITE (A_BOUND && (!aSawRestart || aProof))
#endif

active proctype NodeA() {
  byte n = 0;
end:
  do
  /* The epoch loop. Alone, everything is shown at once. */
  :: atomic { aUp && aGuest && captured < EPOCHS && (aPhase == PROT || aPhase == LEAVE) && captured == sent -> captured++ }
  :: atomic { aUp && aGuest && captured < EPOCHS && aPhase == ALONE -> captured++; shown = captured; sent = captured; acked = captured }
  :: atomic { aUp && aGuest && (aPhase == PROT || aPhase == LEAVE) && !aResync && sent < captured ->
       sent++; commits = commits | (1 << sent) }
  :: atomic { aUp && aGuest && (aPhase == PROT || aPhase == LEAVE) && !aResync && sent > acked -> commits = commits | (1 << (acked + 1)) }
#ifdef NO_HANDOVER_CLOSE
  :: atomic { aUp && aGuest && (aPhase == HAND || aPhase == HANDED) && captured < EPOCHS -> captured++; shown = captured }
#endif
  /* The gate. */
  :: atomic { aUp && aGuest && (aPhase == PROT || aPhase == LEAVE || aPhase == JOIN) && shown < captured &&
       (permit > shown || !GATED) -> shown++ }
  :: atomic { permit > 0 -> permit = 0 }
  /* An acknowledgement arrives. */
  :: atomic { acks != 0 ->
       d_step { n = 1; do :: !(acks & (1 << n)) -> n++ :: else -> break od; acks = acks & ~(1 << n) };
       if
       :: aUp && aGuest && (aPhase == PROT || aPhase == LEAVE || aPhase == JOIN) ->
          if :: n > acked -> acked = n :: else fi;
          if :: n > permit -> permit = n :: else fi;
          if :: aPhase == JOIN -> joinAcked = 1 :: else fi
       :: else
       fi;
       n = 0 }
  /* The backup is lost, or heard again before anything was asked of the witness. */
  :: atomic { aUp && (aPhase == PROT || (aPhase == HAND && aDoubt == 0)) ->
#ifdef NO_CAS_SOLO
       goAlone()
#else
       aPhase = LEAVE
#endif
     }
  :: atomic { aUp && aPhase == LEAVE && aDoubt == 0 && !aResync && owner == A -> aPhase = PROT }
  :: atomic { aUp && aPhase == LEAVE && aWrite == 0 && owner == A && seq < WRITES && A_MAY_WRITE -> aSends(SOLO, term, syncEpoch) }
  /* A restarted witness is confirmed, but only with proof that B stood by since. */
  :: atomic { aUp && aPhase == PROT && aSawRestart && A_MAY_WRITE && aWrite == 0 && owner == A && seq < WRITES ->
       aSends(mode, term, syncEpoch) }
  :: atomic { aUp && aPhase == ALONE && owner == A && A_BOUND && (aSawRestart || mode != SOLO) && aWrite == 0 && seq < WRITES ->
       aSends(SOLO, term, syncEpoch) }
  :: atomic { aUp && aSawRestart && aKnowsRun && !aProof && bUp && bPhase == STANDBY -> aProof = 1 }
  /* Back to PROTECTED: output is held from the capture of epoch m on, B has m, then the register is asked. */
  :: atomic { aUp && aGuest && aPhase == ALONE && captured < EPOCHS && aWrite == 0 && bUp && bPhase == STANDBY ->
       whole = 0; part = 0; captured++; sent = captured; joinAcked = 0; aResync = 0;
#ifdef NO_JOIN_HOLD
       shown = captured;
#else
       aPhase = JOIN;
#endif
       whole = 1; committed = captured; promise = 1; acks = 1 << captured;
#ifdef NO_JOIN_HOLD
       joinAcked = 1; if :: seq < WRITES -> aSends(PROTECTED, term, captured) :: else fi
#endif
     }
  :: atomic { aUp && aPhase == JOIN && joinAcked && A_BOUND && aWrite == 0 && owner == A && seq < WRITES -> aSends(PROTECTED, term, captured) }
  :: atomic { aUp && aPhase == JOIN -> if :: aDoubt == 0 -> goAlone() :: else -> aPhase = LEAVE; aResync = 1 fi }
  /* Planned switchover: paused, all acknowledged, gate shut; then the register; taken back if B does not take it up. */
  :: atomic { aUp && aGuest && aPhase == PROT && acked == captured && !aSawRestart && aDoubt == 0 -> aPhase = HAND; permit = 0 }
  :: atomic { aUp && aPhase == HAND && aWrite == 0 && owner == A && seq < WRITES && A_MAY_WRITE -> aSends(SWITCHING, term + 1, captured) }
  :: atomic { aUp && aPhase == HANDED && aWrite == 0 && owner == B && mode == SWITCHING && seq < WRITES && A_BOUND && !aSawRestart ->
       aSends(SOLO, term + 1, syncEpoch) }
  /* A look at the register. */
  :: atomic { aUp && aPhase != GONE -> aAdopts() }
  /* Death of the agent (the guest lives on behind a shut gate), or of the whole host; and the way back. */
  :: atomic { aUp && aPhase != GONE && aCrashes < CRASHES -> aCrashes++; aUp = 0; permit = 0; aWaits = 0; aDoubt = 0; acks = 0;
       aKnowsRun = 0; aSawRestart = 0; aProof = 0; if :: aPhase = START :: aGone() fi }
#ifdef BOOT_UNASKED
  :: atomic { !aUp -> aUp = 1; if :: aPhase == GONE -> aGuest = 1; aPhase = ALONE; shown = captured :: else fi }
#else
  :: atomic { !aUp -> aUp = 1 }
#endif
  od
}

inline bCommits(n) {
  commits = commits & ~(1 << n);
  if
  :: bUp && bPhase == STANDBY && whole && (n == committed || n == committed + 1) ->
     committed = n; part = 0; promise = 1; acks = acks | (1 << n)
  :: else
  fi
}

inline bSends(t, s) {
  bWrite = seq; bTerm = t; bSync = s; bWaits = 1; bDoubt = seq; bPhase = CLAIM
}

active proctype NodeB() {
end:
  do
  /* Commits arrive in pieces, in any order, twice, or never. */
  :: atomic { bUp && bPhase == STANDBY && whole && (commits & (1 << (committed + 1))) -> part = 1 }
  :: atomic { commits & 2 -> bCommits(1) }
  :: atomic { commits & 4 -> bCommits(2) }
  :: atomic { commits & 8 -> bCommits(3) }
  :: atomic { commits & 16 -> bCommits(4) }
  :: atomic { commits != 0 -> commits = 0 }
  /* The promise runs out, and with it whatever A was allowed by it. */
  :: atomic { promise -> promise = 0;
#ifndef NO_PROMISE
       permit = 0; acks = 0
#endif
     }
  /* Failover by itself. */
#ifdef NO_CAS_PROMOTE
  :: atomic { bUp && bPhase == STANDBY && !promise && whole && committed >= syncEpoch -> promote() }
#endif
  :: atomic { bUp && bPhase == STANDBY && !promise && SERVES_P && CONFIRMED && bWrite == 0 && seq < WRITES ->
       bSends(term + 1, committed) }
  :: atomic { bUp && bPhase == CLAIM && bWrite == 0 && SERVES_P && CONFIRMED && seq < WRITES ->
       bSends(term + 1, committed) }
  /* A handed-over VM is claimed; told by A, without waiting. */
  :: atomic { bUp && bPhase == STANDBY && SERVES_B && mode == SWITCHING && CONFIRMED && (!promise || told) && bWrite == 0 && seq < WRITES ->
       bSends(term, syncEpoch) }
  /* The register is B's: its own late write, or one from before a restart of its agent. */
  :: atomic { bUp && (bPhase == CLAIM || bPhase == STANDBY) && SERVES_B && mode == SOLO && CONFIRMED && !promise -> promote() }
  /* A claim that cannot be applied any more. */
  :: atomic { bUp && bPhase == CLAIM && (seq != bDoubt || !live) && owner == A -> bPhase = STANDBY; bDoubt = 0; bWaits = 0 }
  /* An operator forces it, having seen that A is dead, and knowing what may be lost. */
#ifdef NO_FENCED_BY
  :: atomic { bUp && bPhase == STANDBY && whole && bWrite == 0 && seq < WRITES ->
#else
  :: atomic { bUp && bPhase == STANDBY && whole && bWrite == 0 && seq < WRITES && !aGuest ->
#endif
       if :: !(SERVES_P && live) -> lossOk = 1 :: else fi;
       bSends(term + 1, committed) }
  /* Death of agent or host. The image outlives the agent; after a restart a whole promise is waited out. */
  :: atomic { bUp && bPhase != ENDED && bCrashes < CRASHES -> bCrashes++; bUp = 0; bWaits = 0; bDoubt = 0; part = 0; told = 0;
       if :: bPhase == ACTIVE -> bPhase = ENDED :: else -> bPhase = STANDBY fi;
       if :: skip :: whole = 0; committed = 0 fi }
  :: atomic { !bUp -> bUp = 1;
#ifdef NO_RESTART_WAIT
       promise = 0
#else
       promise = 1
#endif
     }
  od
}

active proctype Witness() {
end:
  do
  /* A's write arrives, in time or late. Its reply may get lost. */
  :: atomic { aWrite != 0 ->
       if
       :: aWrite == seq ->
          if :: aMode == SWITCHING -> write(B, aMode, aTerm, aSync) :: else -> write(A, aMode, aTerm, aSync) fi
       :: else
       fi;
       aWrite = 0;
       if :: aWaits && aUp && aPhase != GONE -> aAdopts() :: skip fi; aWaits = 0 }
  /* Or never. The writer that takes silence for a yes breaks rule 12. */
  :: atomic { aWrite != 0 -> aWrite = 0;
#ifdef NO_DOUBT
       if :: aWaits && aUp && aPhase == LEAVE -> goAlone() :: else fi;
#endif
       aWaits = 0 }
  :: atomic { bWrite != 0 ->
       if
       :: bWrite == seq -> write(B, SOLO, bTerm, bSync);
          if :: bWaits && bUp && bPhase == CLAIM -> promote() :: skip fi
       :: else
       fi;
       bWrite = 0; bWaits = 0 }
  :: atomic { bWrite != 0 -> bWrite = 0; bWaits = 0 }
  /* It restarts: what was on its way to it is gone, and perhaps its last write. */
  :: atomic { wRestarts < CRASHES -> wRestarts++; aWrite = 0; bWrite = 0; live = 0; aKnowsRun = 0;
       if
       :: skip
       :: owner = pOwner; mode = pMode; term = pTerm; syncEpoch = pSync; seq = pSeq
       fi }
  od
}

/* I1: two open gates. I2: what clients saw is in the copy that goes on. I6, I7: memory and disk are of one whole epoch. */
active proctype Invariants() {
end:
  atomic { bPhase == ACTIVE && A_OPEN -> assert(false) }
}
active proctype NothingSeenIsLost() {
end:
  atomic { bPhase == ACTIVE && shown > resumedAt && !lossOk -> assert(false) }
}
active proctype OneEpoch() {
end:
  atomic { bPhase == ACTIVE && (bTorn || bDiskAhead) -> assert(false) }
}
