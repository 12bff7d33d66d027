/** Which guest frames (gfns) exist, and where each has its page in the compact index space of shadow copy and standby image. */
#pragma once

#include <cstdint>
#include <vector>

#include "xen.h"

namespace romulus::xen {

/** `pages` frames from `gfn` on have their pages from `page` on. page % 64 == gfn % 64, so that bitmaps are translated by words. */
struct Region {
  uint64_t gfn;
  uint64_t page;
  uint64_t pages;
};

/** A bitmap of the index space: bit i of word w is page 64w+i. */
using PageBits = std::vector<uint64_t>;

inline bool test_bit(const uint64_t* bits, uint64_t i) { return (bits[i / 64] >> (i % 64)) & 1; }
inline void set_bit(uint64_t* bits, uint64_t i) { bits[i / 64] |= uint64_t{1} << (i % 64); }

struct Layout {
  std::vector<Region> regions;
  /** Pages of the index space, a multiple of 64; what lies between regions stays zero. */
  uint64_t pages = 0;

  /** Covers all RAM the domain may ever have and the special frames below 4 GiB that exist now. */
  static Layout of(xc_interface* xch, uint32_t domid);

  /** The pages that have a frame behind them at this moment (ballooning takes frames away and brings them back). */
  PageBits present(xc_interface* xch, uint32_t domid) const;

  /** Translates a log-dirty bitmap over gfns into pages; `gfn_count` bits are valid in `by_gfn`. */
  PageBits translate(const uint64_t* by_gfn, uint64_t gfn_count) const;

  /** Whether such a bitmap names frames of the guest outside all regions. (Xen's own pages shared with it are none of them.) */
  bool misses(xc_interface* xch, uint32_t domid, const uint64_t* by_gfn, uint64_t gfn_count) const;
};

}  // namespace romulus::xen
