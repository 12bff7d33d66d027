/** One bit per page: which pages are dirty. Bit i of word w is page 64w + i. */
#pragma once

#include <cstdint>
#include <span>

#include "mapping.h"
#include "page.h"
#include "status.h"

namespace romulus {

class Bitmap {
 public:
  /** All clear; EINVAL for none or more than kMaxPages. */
  Status create(uint64_t pages) noexcept;

  uint64_t pages() const noexcept { return pages_; }
  std::span<uint64_t> words() noexcept { return {data(), word_count()}; }
  std::span<const uint64_t> words() const noexcept { return {data(), word_count()}; }

  /** Callers check that the range lies within pages(). */
  void set(uint64_t page, uint64_t count = 1) noexcept;
  void set_all() noexcept { set(0, pages_); }
  void clear() noexcept;
  void clear(uint64_t page, uint64_t count) noexcept;
  bool test(uint64_t page) const noexcept { return (data()[page / 64] >> (page % 64) & 1) != 0; }
  uint64_t count() const noexcept;
  /** Same number of pages. */
  void merge(const Bitmap& other) noexcept;
  /** Little-endian words; bits beyond the last page are dropped. At most ceil(pages / 8) bytes. */
  void load(std::span<const uint8_t> bytes) noexcept;

  uint64_t count_runs() const noexcept;
  /** Writes pairs (first page, pages), ascending; `out` has room for 2 * count_runs(). */
  void write_runs(std::span<double> out) const noexcept;

 private:
  uint64_t* data() const noexcept { return reinterpret_cast<uint64_t*>(memory_.data()); }
  uint64_t word_count() const noexcept { return (pages_ + 63) / 64; }
  void trim() noexcept;

  Mapping memory_;
  uint64_t pages_ = 0;
};

}  // namespace romulus
