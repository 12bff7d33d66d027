/** Any bytes as a copies payload: refused, or runs in order, within the image, whose sources no run writes to, and that are written the same. */
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../engine/apply.h"
#include "../engine/copies.h"

using namespace romulus;

namespace {

/** As many as the largest guest has: no number in a payload may be too large for the arithmetic. */
constexpr uint64_t kMostPages = kMaxPages;
constexpr uint64_t kFewPages = 8;

void check_rules(const std::vector<CopyRun>& runs, uint64_t pages) {
  const std::vector<uint64_t> targets = target_pages(runs);
  uint64_t end = 0;
  for (const CopyRun& run : runs) {
    if (run.words == 0 || run.target < end) std::abort();
    end = run.target + run.words;
    if (end > pages * kWordsPerPage || run.source + run.words > pages * kWordsPerPage) std::abort();
    if ((end - 1) / kWordsPerPage != run.target_page()) std::abort();
    if ((run.source + run.words - 1) / kWordsPerPage != run.source_page()) std::abort();
    for (const uint64_t target : targets) {
      if (target == run.source_page()) std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  // An exact copy, so that the sanitizer sees reads beyond the end.
  const std::vector<uint8_t> payload(bytes, bytes + size);
  std::vector<CopyRun> runs;
  if (read_copies(payload, kMostPages, runs).ok()) {
    check_rules(runs, kMostPages);
    std::vector<uint8_t> again(kCopiesHeaderBytes + runs.size() * kMaxCopyRunBytes);
    again.resize(write_copies(runs, again.data()));
    if (again != payload) std::abort();
  } else if (!runs.empty()) {
    std::abort();
  }
  static Mapping image;
  if (image.data() == nullptr) {
    if (!image.anonymous(kFewPages * kPageBytes).ok()) std::abort();
    for (uint64_t at = 0; at < image.bytes(); at++) image.data()[at] = static_cast<uint8_t>(at * 2654435761u >> 13);
  }
  const bool sound = read_copies(payload, kFewPages, runs).ok();
  if (sound) check_rules(runs, kFewPages);
  if (!is_copies(payload)) return 0;
  const std::span<const uint8_t> chunk(payload);
  const uint64_t before = digest_of(image, 1);
  ApplyOutcome applied;
  if (apply_epoch(image, {&chunk, 1}, 1, applied).ok() && digest_of(image, 1) != before + applied.digest_change) std::abort();
  return 0;
}
