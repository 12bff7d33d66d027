/** Bulk work on listed pages, for traces: pages are named by ascending number, their data lies packed in that order. */
#pragma once

#include <cstdint>
#include <span>

#include "bitmap.h"
#include "mapping.h"
#include "status.h"

namespace romulus {

using PageList = std::span<const uint32_t>;

/** Numbers of the pages set, ascending; `out` has room for dirty.count(). */
void list_pages(const Bitmap& dirty, std::span<uint32_t> out) noexcept;

/** Sets the bits of the pages a chunk names; EBADMSG, with nothing set, unless it decodes within the bitmap's pages. */
Status mark_pages(std::span<const uint8_t> chunk, Bitmap& into) noexcept;

/** memory ^= data, page by page. */
void xor_pages(const Mapping& memory, PageList pages, const uint8_t* data) noexcept;
/** out = memory ^ previous, then previous = memory. */
void diff_pages(const Mapping& memory, const Mapping& previous, PageList pages, uint8_t* out) noexcept;
void copy_pages(const Mapping& from, const Mapping& to, PageList pages) noexcept;
void gather_pages(const Mapping& memory, PageList pages, uint8_t* out) noexcept;

/** One hash per page from `first` on; 0 for a page of zeros, never 0 for another. */
void hash_pages(const Mapping& memory, uint64_t first, std::span<uint64_t> out) noexcept;

/** The lowest page in which two ranges of the same size differ; their page count when they are equal. */
uint64_t first_difference(const Mapping& a, const Mapping& b, uint32_t threads) noexcept;

}  // namespace romulus
