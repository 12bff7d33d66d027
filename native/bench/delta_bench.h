/** Delta, compression and apply over a trace, each beside the peers and limits measured in the same run. */
#pragma once

#include <cstdint>

#include "json.h"
#include "trace.h"

namespace romulus::bench {

/** Rows {trace, method, threads, pages, rawBytes, deltaBytes, wireBytes, ns, cpuNs, gbPerS}, medians of `rounds`. */
void bench_delta(const Trace& trace, uint32_t max_threads, uint32_t rounds, Rows& rows);

/** The same rows for applying the deltas to an image; `copy` is a plain copy of the dirty pages into it. */
void bench_apply(const Trace& trace, uint32_t max_threads, uint32_t rounds, Rows& rows);

}  // namespace romulus::bench
