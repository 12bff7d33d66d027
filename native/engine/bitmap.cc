/** Bitmap operations a word at a time; bits beyond the last page are always clear. */
#include "bitmap.h"

#include <cerrno>
#include <cstring>

#include "bits.h"

namespace romulus {

Status Bitmap::create(uint64_t pages) noexcept {
  if (pages == 0 || pages > kMaxPages) return {EINVAL, "a bitmap has 1 to 2^31 pages"};
  Status status = memory_.anonymous((pages + 63) / 64 * 8);
  if (status.ok()) pages_ = pages;
  return status;
}

namespace {

/** Calls with each word's index and the bits of it that lie within a range of pages. */
template <typename F>
void for_words(uint64_t page, uint64_t count, F&& body) noexcept {
  while (count > 0) {
    const uint64_t bit = page % 64;
    const uint64_t here = count < 64 - bit ? count : 64 - bit;
    const uint64_t mask = here == 64 ? ~uint64_t{0} : (uint64_t{1} << here) - 1;
    body(page / 64, mask << bit);
    page += here;
    count -= here;
  }
}

}  // namespace

void Bitmap::set(uint64_t page, uint64_t count) noexcept {
  for_words(page, count, [this](uint64_t w, uint64_t bits) { data()[w] |= bits; });
}

void Bitmap::clear(uint64_t page, uint64_t count) noexcept {
  for_words(page, count, [this](uint64_t w, uint64_t bits) {
    if ((data()[w] & bits) != 0) data()[w] &= ~bits;
  });
}

void Bitmap::clear() noexcept {
  // Writing only where something is set leaves the untouched part of a huge bitmap without memory.
  for (uint64_t& word : words()) {
    if (word != 0) word = 0;
  }
}

uint64_t Bitmap::count() const noexcept {
  uint64_t total = 0;
  for (const uint64_t word : words()) {
    if (word != 0) total += popcount64(word);
  }
  return total;
}

void Bitmap::merge(const Bitmap& other) noexcept {
  for (uint64_t w = 0; w < word_count(); w++) {
    if (other.data()[w] != 0) data()[w] |= other.data()[w];
  }
}

void Bitmap::load(std::span<const uint8_t> bytes) noexcept {
  std::memcpy(data(), bytes.data(), bytes.size());
  std::memset(memory_.data() + bytes.size(), 0, word_count() * 8 - bytes.size());
  trim();
}

void Bitmap::trim() noexcept {
  if (pages_ % 64 != 0) data()[pages_ / 64] &= (uint64_t{1} << pages_ % 64) - 1;
}

uint64_t Bitmap::count_runs() const noexcept {
  uint64_t runs = 0;
  uint64_t carry = 0;
  for (const uint64_t word : words()) {
    if (word != 0) runs += popcount64(word & ~(word << 1 | carry));
    carry = word >> 63;
  }
  return runs;
}

void Bitmap::write_runs(std::span<double> out) const noexcept {
  size_t at = 0;
  uint64_t open = 0;  // length of the run that reaches the current position
  uint64_t first = 0;
  const auto close_run = [&] {
    out[at++] = static_cast<double>(first);
    out[at++] = static_cast<double>(open);
    open = 0;
  };
  for (uint64_t w = 0; w < word_count(); w++) {
    const uint64_t word = data()[w];
    if (word == 0 && open == 0) continue;
    uint64_t bit = 0;
    while (bit < 64) {
      const uint64_t rest = word >> bit;
      if (open == 0) {
        if (rest == 0) break;
        bit += lowest_bit(rest);
        first = w * 64 + bit;
      }
      const uint64_t gaps = ~(word >> bit);
      const uint64_t length = gaps == 0 ? 64 : lowest_bit(gaps);
      const uint64_t here = length < 64 - bit ? length : 64 - bit;
      open += here;
      bit += here;
      if (bit < 64) close_run();
    }
  }
  if (open != 0) close_run();
}

}  // namespace romulus
