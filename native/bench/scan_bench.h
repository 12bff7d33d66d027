/** Listing the dirty pages of a bitmap, beside the bit test per page and one reading of the bitmap. */
#pragma once

#include <cstdint>

#include "json.h"
#include "trace.h"

namespace romulus::bench {

/** Rows {guestGiB, density, shape, method, cache, ns, pages} for made-up bitmaps of a guest of that size. */
void bench_scan(uint64_t guest_gib, uint32_t threads, uint32_t rounds, Rows& rows);

/** The same for the middle epoch of a trace, tiled to a guest of that size. */
void bench_scan_trace(const Trace& trace, uint64_t guest_gib, uint32_t threads, uint32_t rounds, Rows& rows);

}  // namespace romulus::bench
