/** Feeds the kernel's watchdog past its timeout, then stops, as the agent of an isolated host does; run by stock-kernel.test.ts. */

import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { HostWatchdog } from '../../cli/agent/host-watchdog.ts';

let mayLive = true;
const log = pino({ level: 'silent' });
const watchdog = new HostWatchdog({ device: '/dev/watchdog' }, () => ({ count: 1, mayLive }), log);
await delay(3 * watchdog.timeoutMs);
console.log(`fed for three times ${watchdog.timeoutMs} ms`);
mayLive = false;
await delay(20 * watchdog.timeoutMs);
console.log('not reset');
