/** The one error type of Romulus: a code from a closed list, a sentence, and the next command to run. */

/** Exit codes of every verb; scripts depend on them. */
export const ExitCode = { ok: 0, failed: 1, usage: 2, degraded: 3, refused: 4, notFound: 5 } as const;
export type ExitCodeValue = (typeof ExitCode)[keyof typeof ExitCode];

/** Every code, with the exit code a verb ends with when this error reaches it. */
export const errorCodes = {
  CONFIG_INVALID: ExitCode.usage,
  USAGE: ExitCode.usage,
  VM_UNKNOWN: ExitCode.notFound,
  VM_BUSY: ExitCode.failed,
  PEER_UNKNOWN: ExitCode.notFound,
  AGENT_UNREACHABLE: ExitCode.failed,
  AGENT_RUNNING: ExitCode.failed,
  API_UNKNOWN: ExitCode.failed,
  PEER_UNREACHABLE: ExitCode.failed,
  TLS_REQUIRED: ExitCode.refused,
  TLS_INVALID: ExitCode.failed,
  WIRE_FRAME: ExitCode.failed,
  WIRE_LIMIT: ExitCode.failed,
  WIRE_CHECKSUM: ExitCode.failed,
  WIRE_ORDER: ExitCode.failed,
  WIRE_VERSION: ExitCode.failed,
  WIRE_GEOMETRY: ExitCode.failed,
  TERM_STALE: ExitCode.refused,
  TERM_CORRUPT: ExitCode.refused,
  WITNESS_UNSAFE: ExitCode.refused,
  WITNESS_UNREACHABLE: ExitCode.failed,
  QUEUE_UNREACHABLE: ExitCode.failed,
  JOB_UNKNOWN: ExitCode.notFound,
  IMAGE_FULL: ExitCode.failed,
  IMAGE_IO: ExitCode.failed,
  IMAGE_CORRUPT: ExitCode.failed,
  IMAGE_NOT_PROMOTABLE: ExitCode.refused,
  PRIMARY_ALIVE: ExitCode.refused,
  FENCE_UNPROVEN: ExitCode.refused,
  HV_UNSUPPORTED: ExitCode.failed,
  HV_NOT_SHARED: ExitCode.failed,
  HV_START: ExitCode.failed,
  HV_PROTOCOL: ExitCode.failed,
  HV_GUEST_GONE: ExitCode.failed,
  ENGINE: ExitCode.failed,
  TRACE_INVALID: ExitCode.failed,
  PREREQUISITE: ExitCode.failed,
  DISK_UNUSABLE: ExitCode.failed,
  DEGRADED: ExitCode.degraded,
  INTERNAL: ExitCode.failed,
} as const;
export type ErrorCode = keyof typeof errorCodes;

/** `message` says what happened; `hint` is the next command or step for the operator. */
export class RomulusError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'RomulusError';
    this.code = code;
    this.hint = options.hint;
  }

  /** An error that came over the API or the wire; a code this release does not know becomes INTERNAL. */
  static fromJSON(json: { code: string; message: string; hint?: string }): RomulusError {
    const code = Object.hasOwn(errorCodes, json.code) ? (json.code as ErrorCode) : 'INTERNAL';
    return new RomulusError(code, json.message, json.hint === undefined ? {} : { hint: json.hint });
  }

  get exitCode(): ExitCodeValue {
    return errorCodes[this.code];
  }

  /** The form in which errors cross the local API and the wire. */
  toJSON(): { code: ErrorCode; message: string; hint?: string } {
    return {
      code: this.code,
      message: this.message,
      ...(this.hint === undefined ? {} : { hint: this.hint }),
    };
  }
}

/** Anything thrown, as a RomulusError; unknown things become INTERNAL and keep their cause. */
export function asRomulusError(thrown: unknown): RomulusError {
  if (thrown instanceof RomulusError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new RomulusError('INTERNAL', message, { cause: thrown });
}
