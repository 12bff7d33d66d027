/** The agent's configuration: one import for its shape, its reading and its units. */

export { type Endpoint, formatEndpoint, isLoopback, parseEndpoint } from './config/endpoint.ts';
export { configPath, DEFAULT_CONFIG_PATH, loadConfig } from './config/load.ts';
export {
  type AgentConfig,
  type GuestEndPolicy,
  type MetricsConfig,
  type PeerConfig,
  parseConfig,
  type QueueConfig,
  type TlsFiles,
  type VmConfig,
  type WatchdogConfig,
  type WitnessConfig,
} from './config/parse.ts';
export { configAsFile } from './config/print.ts';
export { formatBytes, formatMs, parseDurationMs, parseSizeBytes } from './config/units.ts';
