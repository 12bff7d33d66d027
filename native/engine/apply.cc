/** The payload is read through the checking reader both times: bytes that change between check and use do no harm. */
#include "apply.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <vector>

#include "bits.h"
#include "clock.h"
#include "copies.h"
#include "cpu.h"
#include "extents.h"
#include "payload.h"
#include "pool.h"

namespace romulus {
namespace {

/** What a thread digests at once. */
constexpr uint64_t kDigestBytes = 2 * 1024 * 1024;

/** Pages with copies that a thread takes at once. */
constexpr uint64_t kCopiedPagesAtOnce = 16;

/** Pages read ahead of the one being applied, so that their lines are on their way. A power of two. */
constexpr uint64_t kAheadPages = 8;

/** Asks for the lines a record will write. Whole pages the processor's own prefetcher follows. */
void prefetch(const Mapping& image, const PageRecord& record) noexcept {
  const uint8_t* page = image.data() + record.page * kPageBytes;
  for (uint64_t lines = record.delta.line_mask; lines != 0; lines &= lines - 1) {
    __builtin_prefetch(page + lowest_bit(lines) * kLineBytes, 1);
  }
}

uint64_t apply_record(const Mapping& image, const PageRecord& record) noexcept {
  if (record.form == Form::zero && image.is_hole(record.page)) return 0;
  uint8_t* page = image.data() + record.page * kPageBytes;
  const Kernels& kernel = kernels();
  switch (record.form) {
    case Form::delta:
      return kernel.apply_delta(page, record.page, record.delta);
    case Form::zero:
      return kernel.apply_page(page, record.page, nullptr);
    case Form::whole:
      return kernel.apply_page(page, record.page, record.delta.data);
    case Form::fresh:
      break;
  }
  const uint64_t clearing = kernel.apply_page(page, record.page, nullptr);
  return clearing + kernel.apply_delta(page, record.page, record.delta);
}

/** Which of a payload's pages are applied: all, those that no run writes to, or those that runs wrote to. */
struct Choice {
  const std::vector<uint64_t>& targets;
  bool wants_targets;

  bool takes(uint64_t page) const noexcept {
    return targets.empty() || std::binary_search(targets.begin(), targets.end(), page) == wants_targets;
  }
};

/** Digest change of one payload; false if it is malformed, up to where it was applied. */
bool apply_one(const Mapping& image, std::span<const uint8_t> payload, const Choice& choice, uint64_t& change) noexcept {
  PayloadReader reader;
  if (!reader.open(payload, pages_in(image.bytes())).ok()) return false;
  PageRecord ring[kAheadPages];
  PayloadReader::Step step = PayloadReader::Step::page;
  uint64_t read = 0;
  for (uint64_t applied = 0;; applied++) {
    while (step == PayloadReader::Step::page && read < applied + kAheadPages) {
      PageRecord& record = ring[read % kAheadPages];
      step = reader.next(record);
      if (step != PayloadReader::Step::page) break;
      if (!choice.takes(record.page)) continue;
      prefetch(image, record);
      read++;
    }
    if (applied == read) return step == PayloadReader::Step::end;
    change += apply_record(image, ring[applied % kAheadPages]);
  }
}

/** Lays a page's runs over it; returns the digest change. No source is written meanwhile: read_copies() saw to that. */
uint64_t lay_over(const Mapping& image, std::span<const CopyRun> runs) noexcept {
  const uint64_t page = runs.front().target_page();
  uint8_t* const at = image.data() + page * kPageBytes;
  alignas(kLineBytes) uint8_t laid[kPageBytes];
  std::memcpy(laid, at, kPageBytes);
  for (const CopyRun& run : runs) {
    uint8_t* const to = laid + run.target % kWordsPerPage * kWordBytes;
    // A hole of a sparse image must not even be read: that would take a block for it.
    if (image.is_hole(run.source_page())) std::memset(to, 0, run.words * kWordBytes);
    else std::memcpy(to, image.data() + run.source * kWordBytes, run.words * kWordBytes);
  }
  return kernels().apply_page(at, page, laid);
}

/** The runs of each page on their own. */
std::vector<std::span<const CopyRun>> by_page(std::span<const CopyRun> runs) noexcept {
  std::vector<std::span<const CopyRun>> pages;
  for (uint64_t begin = 0, end = 0; begin < runs.size(); begin = end) {
    while (end < runs.size() && runs[end].target_page() == runs[begin].target_page()) end++;
    pages.push_back(runs.subspan(begin, end - begin));
  }
  return pages;
}

/** Takes blocks for the pages that one payload will write. */
Status reserve_payload(Mapping& image, std::span<const uint8_t> payload) noexcept {
  if (is_copies(payload)) {
    std::vector<CopyRun> runs;
    if (Status status = read_copies(payload, pages_in(image.bytes()), runs); !status.ok()) return status;
    for (const uint64_t page : target_pages(runs)) {
      if (Status status = image.reserve_pages(page, 1); !status.ok()) return status;
    }
    return {};
  }
  PayloadReader reader;
  if (Status status = reader.open(payload, pages_in(image.bytes())); !status.ok()) return status;
  for (PageRecord record; reader.next(record) == PayloadReader::Step::page;) {
    if (record.form == Form::zero) continue;
    if (Status status = image.reserve_pages(record.page, 1); !status.ok()) return status;
  }
  return {};
}

/** Calls work(i), which returns a digest change, for each i below `count` on some threads; returns the sum. */
template <typename F>
uint64_t in_parallel(uint64_t count, uint64_t at_once, uint32_t threads, F&& work) noexcept {
  std::atomic<uint64_t> next{0};
  std::atomic<uint64_t> change{0};
  auto body = [&](uint32_t) noexcept {
    uint64_t mine = 0;
    for (uint64_t i; (i = next.fetch_add(at_once)) < count;) {
      for (const uint64_t end = std::min(i + at_once, count); i < end; i++) mine += work(i);
    }
    change += mine;
  };
  ThreadPool::shared().for_slots(static_cast<uint32_t>(std::min<uint64_t>(threads, (count + at_once - 1) / at_once)), body);
  return change;
}

}  // namespace

Status reserve_chunk(Mapping& image, std::span<const uint8_t> chunk) noexcept {
  if (!image.is_sparse()) return {};
  std::vector<std::span<const uint8_t>> payloads;
  if (Status status = split_chunk(chunk, payloads); !status.ok()) return status;
  for (const auto payload : payloads) {
    if (Status status = reserve_payload(image, payload); !status.ok()) return status;
  }
  return {};
}

Status apply_epoch(Mapping& image, Chunks chunks, uint32_t threads, ApplyOutcome& outcome) noexcept {
  if (!image.writable()) return {EACCES, "the image is mapped read-only"};
  const uint64_t start = now_ns();
  EpochParts parts;
  if (Status status = read_epoch(chunks, pages_in(image.bytes()), parts); !status.ok()) return status;
  outcome.pages = parts.pages;
  for (const auto chunk : chunks) {
    if (Status status = reserve_chunk(image, chunk); !status.ok()) return status;
  }
  std::atomic<bool> sound{true};
  const auto apply_deltas = [&](bool of_targets) noexcept {
    const Choice choice = {parts.targets, of_targets};
    return in_parallel(parts.deltas.size(), 1, threads, [&](uint64_t i) noexcept {
      uint64_t change = 0;
      if (!apply_one(image, parts.deltas[i], choice, change)) sound = false;
      return change;
    });
  };
  // Each part waits for the one before: runs are copied from what part 1 left, and part 3 is against what they leave.
  outcome.digest_change = apply_deltas(false);
  if (!parts.runs.empty()) {
    const auto pages = by_page(parts.runs);
    outcome.digest_change += in_parallel(pages.size(), kCopiedPagesAtOnce, threads,
                                         [&](uint64_t i) noexcept { return lay_over(image, pages[i]); });
    outcome.digest_change += apply_deltas(true);
  }
  outcome.apply_ns = now_ns() - start;
  if (!sound) return {EBADMSG, "a payload changed while it was applied"};
  return {};
}

uint64_t digest_of(const Mapping& range, uint32_t threads) noexcept {
  // Zeros add nothing: what was never touched need not be looked at.
  const std::vector<Extent> pieces = cut(touched_extents(range), kDigestBytes);
  std::atomic<uint64_t> next{0};
  std::atomic<uint64_t> digest{0};
  auto body = [&](uint32_t) noexcept {
    uint64_t mine = 0;
    for (uint64_t i; (i = next.fetch_add(1)) < pieces.size();) {
      const auto [begin, end] = pieces[i];
      mine += kernels().digest_lines(range.data() + begin, begin / kLineBytes, (end - begin) / kLineBytes);
    }
    digest += mine;
  };
  const auto width = static_cast<uint32_t>(std::min<uint64_t>(threads, pieces.size()));
  ThreadPool::shared().for_slots(width, body);
  return digest;
}

}  // namespace romulus
