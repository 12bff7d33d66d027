/** Plain loops that compilers vectorise; what they cost is the memory they touch. */
#include "pages.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

#include "copies.h"
#include "digest.h"
#include "extents.h"
#include "page.h"
#include "payload.h"
#include "pool.h"

namespace romulus {
namespace {

/** What a thread compares at once. */
constexpr uint64_t kCompareBytes = 1024 * 1024;

uint8_t* page_at(const Mapping& memory, uint64_t page) noexcept { return memory.data() + page * kPageBytes; }

uint64_t load_word(const uint8_t* at) noexcept {
  uint64_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

/** Data in a JavaScript buffer may lie at any address, so words are moved by memcpy. */
void xor_page(uint8_t* into, const uint8_t* a, const uint8_t* b) noexcept {
  for (uint64_t i = 0; i < kWordsPerPage; i++) {
    const uint64_t word = load_word(a + i * kWordBytes) ^ load_word(b + i * kWordBytes);
    std::memcpy(into + i * kWordBytes, &word, sizeof word);
  }
}

uint64_t hash_page(const uint8_t* page) noexcept {
  uint64_t hash = 0;
  uint64_t any = 0;
  for (uint64_t i = 0; i < kWordsPerPage; i++) {
    const uint64_t word = load_word(page + i * kWordBytes);
    any |= word;
    hash += digest_change(line_key(i / kWordsPerLine), i % kWordsPerLine, 0, word);
  }
  return any == 0 ? 0 : std::max<uint64_t>(hash, 1);
}

}  // namespace

Status mark_pages(std::span<const uint8_t> chunk, Bitmap& into) noexcept {
  uint64_t named = 0;
  if (Status status = check_chunk(chunk, into.pages(), named); !status.ok()) return status;
  std::vector<std::span<const uint8_t>> payloads;
  if (Status status = split_chunk(chunk, payloads); !status.ok()) return status;
  for (const auto payload : payloads) {
    if (is_copies(payload)) {
      std::vector<CopyRun> runs;
      if (Status status = read_copies(payload, into.pages(), runs); !status.ok()) return status;
      for (const uint64_t page : target_pages(runs)) into.set(page);
      continue;
    }
    PayloadReader reader;
    PageRecord record;
    if (Status status = reader.open(payload, into.pages()); !status.ok()) return status;
    while (reader.next(record) == PayloadReader::Step::page) into.set(record.page);
  }
  return {};
}

void list_pages(const Bitmap& dirty, std::span<uint32_t> out) noexcept {
  auto next = out.begin();
  const auto words = dirty.words();
  for (uint64_t w = 0; w < words.size(); w++) {
    for (uint64_t bits = words[w]; bits != 0; bits &= bits - 1) {
      *next++ = static_cast<uint32_t>(w * 64 + static_cast<uint64_t>(std::countr_zero(bits)));
    }
  }
}

void xor_pages(const Mapping& memory, PageList pages, const uint8_t* data) noexcept {
  for (uint64_t i = 0; i < pages.size(); i++) {
    uint8_t* const page = page_at(memory, pages[i]);
    xor_page(page, page, data + i * kPageBytes);
  }
}

void diff_pages(const Mapping& memory, const Mapping& previous, PageList pages, uint8_t* out) noexcept {
  for (uint64_t i = 0; i < pages.size(); i++) {
    const uint8_t* const now = page_at(memory, pages[i]);
    uint8_t* const before = page_at(previous, pages[i]);
    xor_page(out + i * kPageBytes, now, before);
    std::memcpy(before, now, kPageBytes);
  }
}

void copy_pages(const Mapping& from, const Mapping& to, PageList pages) noexcept {
  for (const uint32_t page : pages) std::memcpy(page_at(to, page), page_at(from, page), kPageBytes);
}

void gather_pages(const Mapping& memory, PageList pages, uint8_t* out) noexcept {
  for (uint64_t i = 0; i < pages.size(); i++) std::memcpy(out + i * kPageBytes, page_at(memory, pages[i]), kPageBytes);
}

void hash_pages(const Mapping& memory, uint64_t first, std::span<uint64_t> out) noexcept {
  for (uint64_t i = 0; i < out.size(); i++) out[i] = hash_page(page_at(memory, first + i));
}

uint64_t first_difference(const Mapping& a, const Mapping& b, uint32_t threads) noexcept {
  const uint64_t pages = pages_in(a.bytes());
  const std::vector<Extent> pieces = cut(united(touched_extents(a), touched_extents(b)), kCompareBytes);
  std::atomic<uint64_t> next{0};
  std::atomic<uint64_t> lowest{pages};
  const auto found = [&](uint64_t page) noexcept {
    uint64_t known = lowest.load(std::memory_order_relaxed);
    while (page < known && !lowest.compare_exchange_weak(known, page, std::memory_order_relaxed)) {
    }
  };
  auto body = [&](uint32_t) noexcept {
    for (;;) {
      const uint64_t piece = next.fetch_add(1, std::memory_order_relaxed);
      if (piece >= pieces.size()) return;
      const uint64_t begin = pages_in(pieces[piece].begin);
      const uint64_t end = pages_in(pieces[piece].end);
      if (begin >= lowest.load(std::memory_order_relaxed)) return;
      if (std::memcmp(page_at(a, begin), page_at(b, begin), (end - begin) * kPageBytes) == 0) continue;
      uint64_t page = begin;
      while (std::memcmp(page_at(a, page), page_at(b, page), kPageBytes) == 0) page++;
      found(page);
    }
  };
  ThreadPool::shared().for_slots(threads, body);
  return lowest.load(std::memory_order_relaxed);
}

}  // namespace romulus
