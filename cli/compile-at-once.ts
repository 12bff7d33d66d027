/** Functions are compiled when they are first called instead of being interpreted for a while: a failover happens once, and no epoch waits for a warm-up. */

import { setFlagsFromString } from 'node:v8';

setFlagsFromString('--always-sparkplug');
