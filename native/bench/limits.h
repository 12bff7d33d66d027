/** Yardsticks of the machine: how fast pages can be read, compared and copied at all, over the same page list. */
#pragma once

#include <cstdint>
#include <span>

namespace romulus::bench {

/** The ranges a page list points into. */
struct PagePair {
  std::span<const uint32_t> pages;
  const uint8_t* now;
  const uint8_t* before;
};

/** Reads a range once, multiples of 64 bytes. */
uint64_t read_range(const uint8_t* from, uint64_t bytes) noexcept;
/** Reads both versions of every page once, every cache line, with the same prefetching as the engine. */
uint64_t read_both(const PagePair& pair) noexcept;
/** Compares both versions and counts the pages that differ. */
uint64_t compare_both(const PagePair& pair) noexcept;
/**
 * About what a delta with a shadow copy costs at least: compares both versions and writes the lines that changed over the old
 * ones, with nothing sent. Returns how many.
 */
uint64_t compare_and_update(const PagePair& pair, uint8_t* before) noexcept;
/** Reads a bitmap once and writes `pages` numbers in order: what any list of dirty pages costs at least. */
uint64_t read_and_list(const uint8_t* from, uint64_t bytes, uint64_t pages, uint32_t* out) noexcept;
/**
 * What any delta with a shadow copy costs at least where all of a page changed: reads both versions, writes the new one over
 * the old and into `out`. Returns the bytes written there.
 */
uint64_t update_and_copy_out(const PagePair& pair, uint8_t* before, uint8_t* out) noexcept;
/** Copies the pages out one after the other, as page-granular checkpointing does; returns the bytes. */
uint64_t copy_out(const PagePair& pair, uint8_t* out) noexcept;

}  // namespace romulus::bench
