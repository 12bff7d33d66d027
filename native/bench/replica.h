/** A guest replayed from a trace, with its shadow and encoder: what delta and apply benchmarks run on. */
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "../engine/bitmap.h"
#include "../engine/encoder.h"
#include "../engine/mapping.h"
#include "limits.h"
#include "measure.h"
#include "trace.h"

namespace romulus::bench {

struct Replica {
  explicit Replica(const Trace& trace, uint32_t threads) : slabs(1 << 20, 1024), encoder(memory, shadow, threads, slabs) {
    ready = memory.anonymous(trace.ram_bytes()).ok() && shadow.anonymous(trace.ram_bytes()).ok() &&
            dirty.create(pages_in(trace.ram_bytes())).ok() && encoder.prepare().ok();
  }

  /** Back to what the guest began with. */
  void rewind(const Trace& trace) {
    trace.load_initial(memory);
    trace.load_initial(shadow);
    dirty.clear();
  }

  PagePair pair(const TraceEpoch& epoch) const { return {epoch.pages, memory.data(), shadow.data()}; }

  /** Neither version of the epoch's pages is in a cache afterwards. */
  void make_cold(const TraceEpoch& epoch) const {
    for (const uint32_t page : epoch.pages) {
      flush(memory.data() + page * kPageBytes, kPageBytes);
      flush(shadow.data() + page * kPageBytes, kPageBytes);
    }
  }

  void mark_dirty(const TraceEpoch& epoch) {
    for (const uint32_t page : epoch.pages) dirty.set(page);
  }

  /** Makes the shadow equal to memory for the epoch's pages, for peers that do not do so themselves. */
  void catch_up(const TraceEpoch& epoch) {
    for (const uint32_t page : epoch.pages) {
      std::memcpy(shadow.data() + page * kPageBytes, memory.data() + page * kPageBytes, kPageBytes);
    }
  }

  Mapping memory;
  Mapping shadow;
  Bitmap dirty;
  SlabPool slabs;
  Encoder encoder;
  bool ready = false;
};

}  // namespace romulus::bench
