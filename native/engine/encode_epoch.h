/** What the threads that encode one epoch share, and what each of them gathers; for encoder.cc and encode_copies.cc alone. */
#pragma once

#include <atomic>
#include <optional>
#include <vector>

#include "chunk_writer.h"
#include "copies.h"
#include "encoder.h"
#include "page_queue.h"

namespace romulus {

struct Encoder::Epoch {
  struct Heavy {
    uint64_t page;
    uint64_t line_mask;
  };

  struct alignas(64) Slot {
    EncodeCounts counts;
    std::vector<Chunk> chunks;
    /** Open from the first pass to the end of the second, so that both fill the same payload. */
    std::optional<ChunkWriter> writer;
    uint64_t pages = 0;
    /** Pages left for the second pass. */
    std::vector<Heavy> heavy;
    std::vector<CopyRun> runs;
    CopyCounts copies;
  };

  DirtyList dirty;
  Grain grain;
  std::vector<Slot> slots;
  /** A thread found no slab for a page of the first pass. */
  std::atomic<bool> ran_out{false};
  /** How many more runs the copies payload has room for. */
  std::atomic<int64_t> room_for_runs{0};
};

}  // namespace romulus
