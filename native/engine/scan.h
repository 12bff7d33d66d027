/** From dirty bitmap to the words worth looking at: one thread for most guests, several where the bitmap outgrows the caches. */
#pragma once

#include <cstdint>
#include <span>

#include "kernels.h"

namespace romulus {

/** Bytes of list that scan_words() may touch for a bitmap of so many words. */
uint64_t scan_list_bytes(uint64_t words) noexcept;

/**
 * Lists the numbers of the words that have bits set, ascending. A word stands for up to 64 pages, so the list stays short
 * however dense the bitmap is; who works on the pages takes them out of their words (Kernels::take_pages), in his own cache.
 */
DirtyWords scan_words(std::span<const uint64_t> words, uint32_t threads, uint32_t* list) noexcept;

}  // namespace romulus
