/** One epoch: list the words of the bitmap that name pages, let threads take some at a time, put back what found no slab. */
#include "encoder.h"

#include <algorithm>

#include "bits.h"
#include "chunk_writer.h"
#include "clock.h"
#include "cpu.h"
#include "encode_epoch.h"
#include "pool.h"
#include "scan.h"

namespace romulus {
namespace {

/** An epoch smaller than this per thread is done sooner by fewer threads (and fills fewer chunks). */
constexpr uint64_t kMinPagesPerThread = 256;
/** Each thread comes back for more so often, or at least for every so many words: then none waits long for another. */
constexpr uint64_t kTakesPerThread = 16;
uint64_t scratch_bytes(const SlabPool& slabs) noexcept {
  return kPageBytes + ChunkWriter::scratch_bytes(slabs.payload_bytes());
}

/** Changed lines from which on the next page is expected to be as dense. */
constexpr uint64_t kDenseLines = 56;

}  // namespace

Encoder::Encoder(const Mapping& memory, const Mapping& shadow, uint32_t threads, SlabPool& slabs) noexcept
    : memory_(memory), copies_(shadow), threads_(threads), slabs_(slabs) {}

Status Encoder::prepare() noexcept {
  const uint64_t pages = pages_in(memory_.bytes());
  if (Status status = shadow_.prepare(copies_, pages); !status.ok()) return status;
  if (Status status = words_.anonymous(scan_list_bytes((pages + 63) / 64)); !status.ok()) return status;
  return scratch_.anonymous(threads_ * scratch_bytes(slabs_));
}

uint8_t* Encoder::zeros(uint32_t slot) const noexcept { return scratch_.data() + slot * scratch_bytes(slabs_); }

uint8_t* Encoder::writer_scratch(uint32_t slot) const noexcept { return zeros(slot) + kPageBytes; }

void Encoder::encode_slot(Epoch& epoch, uint32_t slot) noexcept {
  Epoch::Slot& mine = epoch.slots[slot];
  uint8_t* const scratch = zeros(slot);
  ChunkWriter writer(slabs_, writer_scratch(slot));
  const auto encode_page = kernels().encode_page;
  PageQueue queue(epoch.dirty);
  bool expects_dense = false;
  for (uint64_t page; queue.next(page); mine.pages++) {
    if (!writer.make_room(mine.chunks)) {
      queue.put_back();
      break;
    }
    const uint64_t ahead = queue.ahead();
    const Shadow::Base base = shadow_.base(page, scratch);
    const PageDelta delta =
        encode_page({source_of(page), base.at, page, epoch.grain, expects_dense, writer.masks(), writer.data(),
                     source_of(ahead), shadow_.ahead(ahead, scratch)});
    expects_dense = popcount64(delta.line_mask) >= kDenseLines;
    writer.add(page, delta, base.at, base.is_unknown, mine.counts);
    mine.counts.digest_change += shadow_.settle(page, delta, scratch);
  }
  writer.close(mine.chunks);
}

Status Encoder::encode(Bitmap& dirty, Grain grain, EncodeOutcome& outcome, bool copies) noexcept {
  const uint64_t scan_start = now_ns();
  auto* const list = reinterpret_cast<uint32_t*>(words_.data());
  const DirtyWords found = scan_words(dirty.words(), threads_, list);
  const uint64_t encode_start = now_ns();
  const std::span<const uint32_t> words(list, found.words);
  shadow_.admit(dirty.words(), words);

  const uint64_t useful = std::max<uint64_t>(1, found.pages / kMinPagesPerThread);
  const auto width = static_cast<uint32_t>(std::min<uint64_t>(threads_, useful));
  const uint64_t at_once = std::clamp<uint64_t>(found.words / (width * kTakesPerThread), 1, PageQueue::kMaxWordsAtOnce);
  Epoch epoch{{dirty.words().data(), words, at_once}, grain, std::vector<Epoch::Slot>(width)};
  if (copies && !has_copies_ && index_.prepare(pages_in(memory_.bytes())).ok()) {
    encode_with_copies(epoch, outcome);
  } else {
    auto body = [&](uint32_t slot) noexcept { encode_slot(epoch, slot); };
    ThreadPool::shared().for_slots(width, body);
  }

  for (Epoch::Slot& slot : epoch.slots) {
    outcome.dirty_pages += slot.pages;
    outcome.chunks.insert(outcome.chunks.end(), slot.chunks.begin(), slot.chunks.end());
    outcome.counts.unchanged_pages += slot.counts.unchanged_pages;
    outcome.counts.zero_pages += slot.counts.zero_pages;
    outcome.counts.whole_pages += slot.counts.whole_pages;
    outcome.counts.delta_pages += slot.counts.delta_pages;
    outcome.counts.changed_words += slot.counts.changed_words;
    outcome.counts.digest_change += slot.counts.digest_change;
  }
  // Pages that found no slab are set in the bitmap again, or were never taken out of it.
  outcome.complete = outcome.dirty_pages == found.pages;
  has_copies_ = (has_copies_ || outcome.copies.runs > 0) && !outcome.complete;
  for (const Chunk& chunk : outcome.chunks) outcome.payload_bytes += chunk.payload_bytes;
  digest_.fetch_add(outcome.counts.digest_change, std::memory_order_relaxed);
  outcome.scan_ns = encode_start - scan_start;
  outcome.encode_ns = now_ns() - encode_start;
  return {};
}

}  // namespace romulus
