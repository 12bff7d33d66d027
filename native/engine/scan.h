/** From dirty bitmap to list of pages: one thread for most guests, several where the bitmap outgrows the caches. */
#pragma once

#include <cstdint>
#include <span>

namespace romulus {

/** Bytes of list that scan_pages() may touch for a bitmap of so many words. */
uint64_t scan_list_bytes(uint64_t words) noexcept;

/** Lists the set bits, ascending, and clears them; returns how many. `list` has scan_list_bytes(). */
uint64_t scan_pages(std::span<uint64_t> words, uint32_t threads, uint32_t* list) noexcept;

}  // namespace romulus
