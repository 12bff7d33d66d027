/** What every verb gets: the global options, resolved only when the verb asks. */

import type { Command } from 'commander';
import { type AgentConfig, loadConfig } from '../shared/config.ts';
import { RomulusError } from '../shared/errors.ts';
import { createLog, type Logger, type LogLevel, logLevels } from '../shared/log.ts';
import { AgentClient } from './client.ts';
import { Output, wantsColour } from './output.ts';

interface GlobalOptions {
  json?: boolean;
  config?: string;
  api?: string;
  logLevel?: string;
}

export class Context {
  readonly out: Output;
  readonly #options: GlobalOptions;
  #exitCode = 0;

  constructor(options: GlobalOptions) {
    this.#options = options;
    this.out = new Output({ json: options.json === true, colour: wantsColour(process.stdout) });
  }

  /** The --config flag as given. */
  get configFlag(): string | undefined {
    return this.#options.config;
  }

  /** The --api flag as given. */
  get apiFlag(): string | undefined {
    return this.#options.api;
  }

  /** The config of this host; --api stands in for its `api`. */
  config(): AgentConfig {
    const config = loadConfig(this.#options.config);
    return this.#options.api === undefined ? config : { ...config, api: this.#options.api };
  }

  /** The agent of this host. With --api the config file is not read at all. */
  client(): AgentClient {
    return new AgentClient(this.#options.api ?? this.config().api);
  }

  log(name: string): Logger {
    const level = this.#options.logLevel ?? 'info';
    if (!(logLevels as readonly string[]).includes(level)) {
      throw new RomulusError('USAGE', `"${level}" is not a log level`, {
        hint: `one of ${logLevels.join(', ')}`,
      });
    }
    return createLog(name, level as LogLevel);
  }

  /** Ends the process with this code once the verb is through. */
  exitWith(code: number): void {
    this.#exitCode = code;
  }

  get exitCode(): number {
    return this.#exitCode;
  }
}

/** One file a verb: adds its commands to the program; the context is built when a verb runs. */
export type Verb = (program: Command, context: () => Context) => void;
