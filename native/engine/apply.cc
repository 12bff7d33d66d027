/** The payload is read through the checking reader both times: bytes that change between check and use do no harm. */
#include "apply.h"

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "bits.h"
#include "clock.h"
#include "cpu.h"
#include "extents.h"
#include "payload.h"
#include "pool.h"

namespace romulus {
namespace {

/** What a thread digests at once. */
constexpr uint64_t kDigestBytes = 2 * 1024 * 1024;

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

/** Digest change of one payload; false if it is malformed, up to where it was applied. */
bool apply_one(const Mapping& image, std::span<const uint8_t> payload, uint64_t& change) noexcept {
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
      prefetch(image, record);
      read++;
    }
    if (applied == read) return step == PayloadReader::Step::end;
    change += apply_record(image, ring[applied % kAheadPages]);
  }
}

}  // namespace

Status reserve_payload(Mapping& image, std::span<const uint8_t> payload) noexcept {
  if (!image.is_sparse()) return {};
  PayloadReader reader;
  if (Status status = reader.open(payload, pages_in(image.bytes())); !status.ok()) return status;
  for (PageRecord record; reader.next(record) == PayloadReader::Step::page;) {
    if (record.form == Form::zero) continue;
    if (Status status = image.reserve_pages(record.page, 1); !status.ok()) return status;
  }
  return {};
}

Status apply_payloads(Mapping& image, std::span<const std::span<const uint8_t>> payloads, uint32_t threads,
                      ApplyOutcome& outcome) noexcept {
  if (!image.writable()) return {EACCES, "the image is mapped read-only"};
  const uint64_t start = now_ns();
  for (const auto payload : payloads) {
    uint64_t named = 0;
    if (Status status = check_payload(payload, pages_in(image.bytes()), named); !status.ok()) return status;
    outcome.pages += named;
  }
  for (const auto payload : payloads) {
    if (Status status = reserve_payload(image, payload); !status.ok()) return status;
  }
  std::atomic<uint64_t> next{0};
  std::atomic<uint64_t> change{0};
  std::atomic<bool> sound{true};
  auto body = [&](uint32_t) noexcept {
    uint64_t mine = 0;
    for (uint64_t i; (i = next.fetch_add(1)) < payloads.size();) {
      if (!apply_one(image, payloads[i], mine)) sound = false;
    }
    change += mine;
  };
  const auto width = static_cast<uint32_t>(std::min<uint64_t>(threads, payloads.size()));
  ThreadPool::shared().for_slots(width, body);
  outcome.digest_change = change;
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
