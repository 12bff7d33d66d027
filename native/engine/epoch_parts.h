/** In which order the payloads of an epoch are applied, and the rule that lets them be applied again (FORMAT.md, "Copies"). */
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "copies.h"
#include "status.h"

namespace romulus {

/** Chunks as they came. */
using Chunks = std::span<const std::span<const uint8_t>>;

/**
 * Part 1 is the deltas of all pages that no run writes to, part 2 the runs of at most one copies payload, part 3 the deltas of the
 * pages these wrote to. No run's source lies in such a page. So part 1, which holds absolute values, makes all sources anew, and an
 * epoch that was applied in part can be applied again from the start.
 */
struct EpochParts {
  /** Of parts 1 and 3. */
  std::vector<std::span<const uint8_t>> deltas;
  std::vector<CopyRun> runs;
  /** The pages that runs write to, ascending. */
  std::vector<uint64_t> targets;
  /** Pages named, those with copies maybe twice. */
  uint64_t pages = 0;
};

/** Reads all of an epoch's chunks and touches nothing; EBADMSG if one is malformed, or there are more copies than one payload of them. */
Status read_epoch(Chunks chunks, uint64_t pages, EpochParts& parts) noexcept;

/** The least that has to be looked at of chunks that were checked one by one: whether they may be one epoch. */
Status check_epoch(Chunks chunks) noexcept;

/** Whether sound chunks hold copies. */
bool has_copies(Chunks chunks) noexcept;

}  // namespace romulus
