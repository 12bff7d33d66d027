/* The keeper: continues a guest whose agent died in the middle of a checkpoint. */
#pragma once

/*
 * Thread body. Holds a connection to the agent's socket ROMULUS_KEEPER, on which the agent writes one byte:
 *   'P' before it pauses the guest for a checkpoint
 *   'R' after the guest runs again
 *   'F' the guest is fenced: it stays paused for ever, whoever dies
 * If the connection ends after 'P', the agent is dead and the guest is continued through ROMULUS_KEEPER_QMP.
 */
void *keep_running(void *unused);
