/**
 * An epoch with copies, in two passes. The first encodes light pages and notes where their new content stands; pages of which many
 * lines changed wait, shut as sources. The second looks up what of those stands elsewhere by now: a page is encoded against its old
 * content with the runs laid over; one without any is encoded as ever, and serves as a source from then on.
 *
 * Invariant (FORMAT.md, "Copies"): a run's source lies in a page that no run of this epoch writes to, and its content is what the
 * backup's page holds after all pages without runs. It holds since a page of this epoch is open only once it was encoded without runs.
 */
#include <algorithm>
#include <cstring>

#include "bits.h"
#include "clock.h"
#include "copy_finder.h"
#include "cpu.h"
#include "crc32c.h"
#include "encode_epoch.h"
#include "pool.h"

namespace romulus {
namespace {

/** A page of which so many lines changed is looked at for copies; one of which fewer did serves as a source. */
constexpr uint32_t kHeavyLines = 12;
constexpr uint64_t kAllLines = ~uint64_t{0};

/** One light page in so many is timed: the clock costs as much as noting a page. */
constexpr uint64_t kTimedPages = 16;
/** A page that took longer was waiting for a processor, which is no fault of looking for copies. */
constexpr uint64_t kMostLightNs = 1000;
constexpr uint64_t kMostHeavyNs = 8000;

uint64_t taken_ns(uint64_t start, uint64_t most) noexcept { return std::min(now_ns() - start, most); }

/** Pieces of the shadow that are noted at once. */
constexpr uint64_t kNotedBytes = 1024 * 1024;

/** Which windows hold something of the changed lines: those that begin in them, and some that begin in the line before. */
uint64_t windows_over(uint64_t line_mask) noexcept { return line_mask | line_mask >> 1; }

void pull(const uint8_t* page) noexcept {
  for (uint64_t at = 0; at < kPageBytes; at += kLineBytes) __builtin_prefetch(page + at, 0, 2);
}

}  // namespace

void Encoder::encode_light(Epoch& epoch, uint32_t slot) noexcept {
  Epoch::Slot& mine = epoch.slots[slot];
  uint8_t* const scratch = zeros(slot);
  ChunkWriter& writer = mine.writer.emplace(slabs_, writer_scratch(slot));
  const Kernels& kernel = kernels();
  Anchors anchors;
  PageQueue queue(epoch.dirty);
  for (uint64_t page; queue.next(page);) {
    const uint64_t ahead = queue.ahead();
    const Shadow::Base base = shadow_.base(page, scratch);
    const bool is_kept = shadow_.keeps(page);
    const uint64_t changed = is_kept && !base.is_unknown ? kernel.changed_lines(source_of(page), base.at) : 0;
    if (popcount64(changed) >= kHeavyLines) {
      index_.shut(page);
      mine.heavy.push_back({page, changed});
      pull(source_of(ahead));
      pull(shadow_.ahead(ahead, scratch));
      continue;
    }
    if (!writer.make_room(mine.chunks)) {
      queue.put_back();
      epoch.ran_out = true;
      break;
    }
    mine.pages++;
    const PageDelta delta = kernel.encode_page({source_of(page), base.at, page, epoch.grain, false, writer.masks(), writer.data(),
                                                source_of(ahead), shadow_.ahead(ahead, scratch)});
    writer.add(page, delta, base.at, base.is_unknown, mine.counts);
    mine.counts.digest_change += shadow_.settle(page, delta, scratch);
    if (!is_kept) continue;
    const bool is_timed = mine.pages % kTimedPages == 0;
    const uint64_t start = is_timed ? now_ns() : 0;
    note(page, base.at, windows_over(delta.line_mask), anchors);
    if (is_timed) mine.copies.ns += taken_ns(start, kMostLightNs) * kTimedPages;
  }
}

void Encoder::note(uint64_t page, const uint8_t* content, uint64_t line_mask, Anchors& room) noexcept {
  if (index_.see(page)) {
    kernels().find_anchors(content, kAllLines, room);
    index_.note_sparsely(page, room);
  }
  if (line_mask == 0) return;
  kernels().find_anchors(content, line_mask, room);
  index_.note(page, room);
}

bool Encoder::note_shadow(uint64_t pages) noexcept {
  if (!shadow_.is_full() || !index_.prepare(pages_in(memory_.bytes())).ok()) return false;
  if (next_written_ == 0) written_ = cut(touched_extents(copies_), kNotedBytes);
  Anchors room;
  for (uint64_t looked_at = 0; next_written_ < written_.size() && looked_at < pages; next_written_++) {
    const auto [begin, end] = written_[next_written_];
    for (uint64_t at = begin; at < end; at += kPageBytes) note(at / kPageBytes, copies_.data() + at, 0, room);
    looked_at += pages_in(end - begin);
  }
  return next_written_ < written_.size();
}

uint64_t Encoder::lay_over(uint64_t page, uint8_t* base, std::span<const CopyRun> runs) noexcept {
  alignas(kLineBytes) uint8_t laid[kPageBytes];
  std::memcpy(laid, base, kPageBytes);
  for (const CopyRun& run : runs) {
    const uint8_t* const from = shadow_.copy_of(run.source_page()) + run.source % kWordsPerPage * kWordBytes;
    std::memcpy(laid + run.target % kWordsPerPage * kWordBytes, from, run.words * kWordBytes);
  }
  return kernels().apply_page(base, page, laid);
}

void Encoder::encode_heavy(Epoch& epoch, uint32_t slot, bool copies) noexcept {
  Epoch::Slot& mine = epoch.slots[slot];
  uint8_t* const scratch = zeros(slot);
  ChunkWriter& writer = *mine.writer;
  PageRuns found;
  for (size_t i = 0; i < mine.heavy.size(); i++) {
    const auto [page, line_mask] = mine.heavy[i];
    if (epoch.ran_out || !writer.make_room(mine.chunks)) {
      epoch.dirty.bitmap[page / 64] |= uint64_t{1} << page % 64;
      continue;
    }
    mine.pages++;
    const uint64_t ahead = mine.heavy[std::min(i + 1, mine.heavy.size() - 1)].page;
    const Shadow::Base base = shadow_.base(page, scratch);
    const uint64_t start = now_ns();
    find_runs(index_, shadow_, page, source_of(page), base.at, line_mask, found);
    if (!copies || (found.count > 0 && epoch.room_for_runs.fetch_sub(found.count) < found.count)) found.count = 0;
    const std::span<const CopyRun> runs(found.runs, found.count);
    if (!runs.empty()) {
      mine.counts.digest_change += lay_over(page, base.at, runs);
      mine.runs.insert(mine.runs.end(), runs.begin(), runs.end());
      mine.copies.pages++;
      mine.copies.words += found.changed_words;
    }
    mine.copies.ns += taken_ns(start, kMostHeavyNs);
    const PageDelta delta = kernels().encode_page({source_of(page), base.at, page, epoch.grain, false, writer.masks(), writer.data(),
                                                   source_of(ahead), shadow_.ahead(ahead, scratch)});
    writer.add(page, delta, base.at, false, mine.counts);
    mine.counts.digest_change += shadow_.settle(page, delta, scratch);
    if (!runs.empty()) continue;
    // Noted at once, so that a page like it later in the epoch finds this one.
    note(page, base.at, windows_over(line_mask), found.anchors);
    index_.open(page);
  }
  writer.close(mine.chunks);
  const uint64_t start = now_ns();
  // Not noted before all is looked up: what has copies is shut, and would take the room of the places it was copied from.
  for (const auto& [page, line_mask] : mine.heavy) {
    if (index_.is_open(page)) continue;
    note(page, shadow_.copy_of(page), windows_over(line_mask), found.anchors);
  }
  mine.copies.ns += taken_ns(start, mine.heavy.size() * kMostLightNs);
}

void Encoder::encode_with_copies(Epoch& epoch, EncodeOutcome& outcome) noexcept {
  const auto width = static_cast<uint32_t>(epoch.slots.size());
  auto light = [&](uint32_t slot) noexcept { encode_light(epoch, slot); };
  ThreadPool::shared().for_slots(width, light);

  // The barrier: what light pages hold now is in the shadow and in the index before the first run is looked for.
  const uint32_t slab = epoch.ran_out ? SlabPool::kNone : slabs_.take();
  const bool copies = slab != SlabPool::kNone;
  const uint64_t room = (slabs_.payload_bytes() - kCopiesHeaderBytes) / kMaxCopyRunBytes;
  epoch.room_for_runs = static_cast<int64_t>(std::min<uint64_t>(room, kMaxCopyRuns));
  auto heavy = [&](uint32_t slot) noexcept { encode_heavy(epoch, slot, copies); };
  ThreadPool::shared().for_slots(width, heavy);

  std::vector<CopyRun> runs;
  for (const Epoch::Slot& slot : epoch.slots) {
    runs.insert(runs.end(), slot.runs.begin(), slot.runs.end());
    outcome.copies.pages += slot.copies.pages;
    outcome.copies.words += slot.copies.words;
    outcome.copies.ns += slot.copies.ns;
    for (const Epoch::Heavy& each : slot.heavy) index_.open(each.page);
  }
  outcome.copies.runs = runs.size();
  if (!runs.empty()) {
    std::sort(runs.begin(), runs.end(), [](const CopyRun& a, const CopyRun& b) { return a.target < b.target; });
    add_copies(epoch.slots.front().chunks, runs, slab);
  } else if (copies) {
    slabs_.release(slab);
  }
}

void Encoder::add_copies(std::vector<Chunk>& chunks, std::span<const CopyRun> runs, uint32_t slab) noexcept {
  const std::span<const uint8_t> payload(slabs_.payload(slab), write_copies(runs, slabs_.payload(slab)));
  const auto bytes = static_cast<uint32_t>(payload.size());
  const auto pages = static_cast<uint32_t>(target_pages(runs).size());
  const bool has_room = !chunks.empty() && chunks.back().payload_bytes + bytes <= slabs_.payload_bytes();
  if (!has_room) {
    chunks.push_back({slab, bytes, crc32c(payload), pages});
    return;
  }
  Chunk& into = chunks.back();
  std::memcpy(slabs_.payload(into.slab) + into.payload_bytes, payload.data(), bytes);
  into.crc32c = crc32c_join(into.crc32c, crc32c(payload), bytes);
  into.payload_bytes += bytes;
  into.pages += pages;
  slabs_.release(slab);
}

}  // namespace romulus
