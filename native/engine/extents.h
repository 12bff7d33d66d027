/** Which parts of a mapping were ever given memory: all others are zero, and reading them would cost what they do not. */
#pragma once

#include <cstdint>
#include <vector>

#include "bitmap.h"
#include "mapping.h"

namespace romulus {

/** Bytes from `begin` up to `end`, whole pages. */
struct Extent {
  uint64_t begin;
  uint64_t end;
};

/**
 * Ascending; gaps too small to be worth an entry are filled. Where the kernel cannot tell, one extent that is all. What is
 * written for the first time meanwhile may be missing.
 */
std::vector<Extent> touched_extents(const Mapping& of);

/** What lies in either of two lists. */
std::vector<Extent> united(const std::vector<Extent>& a, const std::vector<Extent>& b);

/** Cuts extents into pieces of at most `bytes`, for threads to share. */
std::vector<Extent> cut(const std::vector<Extent>& extents, uint64_t bytes);

/** Clears the bits of pages outside the touched extents; returns how many bits remain. */
uint64_t skip_untouched(const Mapping& memory, Bitmap& pages);

}  // namespace romulus
