/** Each piece of the bitmap has a part of the list of its own; what they hold is moved together at the end. */
#include "scan.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "cpu.h"
#include "pool.h"

namespace romulus {
namespace {

/** A piece: 512 KiB of bitmap, 16 GiB of guest. */
constexpr uint64_t kPieceWords = 64 * 1024;
/** Below so many pieces a thread more costs what it saves. */
constexpr uint64_t kMinPieces = 4;
/** Entries a kernel may write beyond its end. */
constexpr uint64_t kSlack = kStoreSlackBytes / sizeof(uint32_t);

uint64_t pieces_of(uint64_t words) noexcept { return (words + kPieceWords - 1) / kPieceWords; }

}  // namespace

uint64_t scan_list_bytes(uint64_t words) noexcept {
  return (words + std::max<uint64_t>(pieces_of(words), 1) * kSlack) * sizeof(uint32_t);
}

DirtyWords scan_words(std::span<const uint64_t> words, uint32_t threads, uint32_t* list) noexcept {
  const uint64_t pieces = pieces_of(words.size());
  const auto find = kernels().find_words;
  if (threads < 2 || pieces < kMinPieces) return find(words.data(), words.size(), 0, list);

  const auto part = [&](uint64_t piece) { return list + piece * (kPieceWords + kSlack); };
  constexpr uint64_t kMaxPieces = kMaxPages / 64 / kPieceWords;
  DirtyWords found[kMaxPieces];
  std::atomic<uint64_t> next{0};
  auto body = [&](uint32_t) noexcept {
    for (uint64_t piece; (piece = next.fetch_add(1, std::memory_order_relaxed)) < pieces;) {
      const uint64_t first = piece * kPieceWords;
      const uint64_t count = std::min(kPieceWords, words.size() - first);
      found[piece] = find(words.data() + first, count, static_cast<uint32_t>(first), part(piece));
    }
  };
  ThreadPool::shared().for_slots(static_cast<uint32_t>(std::min<uint64_t>(threads, pieces)), body);
  DirtyWords total;
  for (uint64_t piece = 0; piece < pieces; piece++) {
    std::memmove(list + total.words, part(piece), found[piece].words * sizeof(uint32_t));
    total.words += found[piece].words;
    total.pages += found[piece].pages;
  }
  return total;
}

}  // namespace romulus
