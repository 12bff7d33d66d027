/** One epoch: list the dirty pages, let threads take batches of the list, put back what found no slab. */
#include "encoder.h"

#include <algorithm>

#include "bits.h"
#include "chunk_writer.h"
#include "clock.h"
#include "cpu.h"
#include "pool.h"
#include "scan.h"

namespace romulus {
namespace {

/** Pages a thread takes at once: enough to make taking cheap, few enough that threads end together. */
constexpr uint64_t kBatchPages = 32;
/** An epoch smaller than this per thread is done sooner by fewer threads (and fills fewer chunks). */
constexpr uint64_t kMinPagesPerThread = 256;
/** How far ahead pages are pulled into the caches: 2 and 1 were measured to be alike, 3 to be slower. */
constexpr uint64_t kPrefetchPages = 2;
/** Changed lines from which on the next page is expected to be as dense. */
constexpr uint64_t kDenseLines = 56;

struct PageRange {
  uint64_t begin = 0;
  uint64_t end = 0;
};

}  // namespace

struct Encoder::Epoch {
  struct alignas(64) Slot {
    EncodeCounts counts;
    std::vector<Chunk> chunks;
    /** Part of a batch that found no slab. */
    PageRange left;
  };

  const uint32_t* pages;
  uint64_t count;
  Grain grain;
  std::vector<Slot> slots;
  alignas(64) std::atomic<uint64_t> next{0};
};

Encoder::Encoder(const Mapping& memory, const Mapping& shadow, uint32_t threads, SlabPool& slabs) noexcept
    : memory_(memory), copies_(shadow), threads_(threads), slabs_(slabs) {}

Status Encoder::prepare() noexcept {
  const uint64_t pages = pages_in(memory_.bytes());
  if (Status status = shadow_.prepare(copies_, pages); !status.ok()) return status;
  if (Status status = pages_.anonymous(scan_list_bytes((pages + 63) / 64)); !status.ok()) return status;
  return scratch_.anonymous(threads_ * (kPageBytes + ChunkWriter::scratch_bytes(slabs_.payload_bytes())));
}

void Encoder::encode_slot(Epoch& epoch, uint32_t slot) noexcept {
  Epoch::Slot& mine = epoch.slots[slot];
  uint8_t* const zeros = scratch_.data() + slot * (kPageBytes + ChunkWriter::scratch_bytes(slabs_.payload_bytes()));
  ChunkWriter writer(slabs_, zeros + kPageBytes);
  const auto encode_page = kernels().encode_page;
  const auto source_of = [&](uint64_t page) { return memory_.data() + page * kPageBytes; };
  bool has_room = true;
  bool expects_dense = false;
  while (has_room) {
    const uint64_t begin = epoch.next.fetch_add(kBatchPages, std::memory_order_relaxed);
    if (begin >= epoch.count) break;
    const uint64_t end = std::min(begin + kBatchPages, epoch.count);
    for (uint64_t i = begin; i < end; i++) {
      if (!writer.make_room(mine.chunks)) {
        mine.left = {i, end};
        has_room = false;
        break;
      }
      const uint64_t page = epoch.pages[i];
      const uint64_t ahead = epoch.pages[std::min(i + kPrefetchPages, epoch.count - 1)];
      const Shadow::Base base = shadow_.base(page, zeros);
      const PageDelta delta =
          encode_page({source_of(page), base.at, page, epoch.grain, expects_dense, writer.masks(), writer.data(),
                       source_of(ahead), shadow_.ahead(ahead, zeros)});
      expects_dense = popcount64(delta.line_mask) >= kDenseLines;
      writer.add(page, delta, base.at, base.is_unknown, mine.counts);
      mine.counts.digest_change += shadow_.settle(page, delta, zeros);
    }
  }
  writer.close(mine.chunks);
}

Status Encoder::encode(Bitmap& dirty, Grain grain, EncodeOutcome& outcome) noexcept {
  const uint64_t scan_start = now_ns();
  auto* const pages = reinterpret_cast<uint32_t*>(pages_.data());
  const uint64_t count = scan_pages(dirty.words(), threads_, pages);
  const uint64_t encode_start = now_ns();
  shadow_.admit({pages, count});

  const uint64_t useful = std::max<uint64_t>(1, count / kMinPagesPerThread);
  const auto width = static_cast<uint32_t>(std::min<uint64_t>(threads_, useful));
  Epoch epoch{pages, count, grain, std::vector<Epoch::Slot>(width)};
  auto body = [&](uint32_t slot) noexcept { encode_slot(epoch, slot); };
  ThreadPool::shared().for_slots(width, body);

  const auto put_back = [&](uint64_t begin, uint64_t end) {
    for (uint64_t i = begin; i < end; i++) dirty.set(pages[i]);
    outcome.dirty_pages -= end - begin;
    if (begin < end) outcome.complete = false;
  };
  outcome.dirty_pages = count;
  put_back(std::min(epoch.next.load(), count), count);
  for (Epoch::Slot& slot : epoch.slots) {
    put_back(slot.left.begin, slot.left.end);
    outcome.chunks.insert(outcome.chunks.end(), slot.chunks.begin(), slot.chunks.end());
    outcome.counts.unchanged_pages += slot.counts.unchanged_pages;
    outcome.counts.zero_pages += slot.counts.zero_pages;
    outcome.counts.whole_pages += slot.counts.whole_pages;
    outcome.counts.delta_pages += slot.counts.delta_pages;
    outcome.counts.changed_words += slot.counts.changed_words;
    outcome.counts.digest_change += slot.counts.digest_change;
  }
  for (const Chunk& chunk : outcome.chunks) outcome.payload_bytes += chunk.payload_bytes;
  digest_.fetch_add(outcome.counts.digest_change, std::memory_order_relaxed);
  outcome.scan_ns = encode_start - scan_start;
  outcome.encode_ns = now_ns() - encode_start;
  return {};
}

}  // namespace romulus
