/** How long each step of making a connection may take: some seconds, or longer where the config grants peers a longer silence. */

export interface ConnectingLimits {
  /** TCP, TLS and the HTTP upgrade together, as who dials sees them; TLS and then the request's head, as who is dialled does. */
  handshakeMs: number;
  /** From the open WebSocket to a hello. */
  helloMs: number;
  /** From a hello to its welcome, for which the backup asks its hypervisor. */
  welcomeMs: number;
  /** From the connection to a hello that was let in. */
  admissionMs: number;
}

/** Strangers profit too from a long silence, so that it counts only this far. */
const MAX_COUNTED_SILENCE_MS = 60_000;

/** Hosts that may be silent for so long without being dead may be as slow to connect. */
export function connectingLimits(silenceMs: number): ConnectingLimits {
  const slowMs = Math.min(silenceMs, MAX_COUNTED_SILENCE_MS);
  return {
    handshakeMs: Math.max(5000, slowMs),
    helloMs: Math.max(5000, slowMs),
    welcomeMs: Math.max(10_000, slowMs),
    admissionMs: Math.max(10_000, slowMs),
  };
}
