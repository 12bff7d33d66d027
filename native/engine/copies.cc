/** Each of the three streams holds what its neighbours in it are like: gaps, lengths, and how far sources jump. */
#include "copies.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "payload.h"

namespace romulus {
namespace {

constexpr uint64_t kMaxWordVarintBytes = 6;

uint64_t write_varint(uint8_t* to, uint64_t value) noexcept {
  uint64_t length = 0;
  for (; value >= 0x80; value >>= 7) to[length++] = static_cast<uint8_t>(value | 0x80);
  to[length++] = static_cast<uint8_t>(value);
  return length;
}

/** One stream; false once it ends early or a number has a second spelling. */
struct Stream {
  const uint8_t* at;
  const uint8_t* end;

  bool next(uint64_t& value) noexcept {
    value = 0;
    for (uint64_t i = 0; i < kMaxWordVarintBytes && at < end; i++) {
      const uint8_t byte = *at++;
      value |= uint64_t{byte & 0x7fu} << (7 * i);
      if (byte < 0x80) return byte != 0 || i == 0;
    }
    return false;
  }
};

/** Small numbers for small jumps in either direction. */
uint64_t zigzag(int64_t jump) noexcept { return static_cast<uint64_t>(jump) << 1 ^ static_cast<uint64_t>(jump >> 63); }
int64_t unzigzag(uint64_t value) noexcept { return static_cast<int64_t>(value >> 1 ^ (~(value & 1) + 1)); }

bool leaves_page(uint64_t word, uint64_t words) noexcept { return word % kWordsPerPage + words > kWordsPerPage; }

}  // namespace

bool is_copies(std::span<const uint8_t> payload) noexcept {
  uint32_t magic = 0;
  if (payload.size() >= sizeof magic) std::memcpy(&magic, payload.data(), sizeof magic);
  return magic == kCopiesMagic;
}

uint64_t write_copies(std::span<const CopyRun> runs, uint8_t* to) noexcept {
  uint8_t* at = to + kCopiesHeaderBytes;
  uint64_t ends[3];
  uint64_t target_end = 0;
  for (const CopyRun& run : runs) {
    at += write_varint(at, run.target - target_end);
    target_end = run.target + run.words;
  }
  ends[0] = static_cast<uint64_t>(at - to);
  for (const CopyRun& run : runs) at += write_varint(at, run.words - 1);
  ends[1] = static_cast<uint64_t>(at - to);
  uint64_t source_end = 0;
  for (const CopyRun& run : runs) {
    at += write_varint(at, zigzag(static_cast<int64_t>(run.source - source_end)));
    source_end = run.source + run.words;
  }
  ends[2] = static_cast<uint64_t>(at - to);
  const CopiesHeader header = {kCopiesMagic, static_cast<uint32_t>(runs.size()), static_cast<uint32_t>(ends[0] - kCopiesHeaderBytes),
                               static_cast<uint32_t>(ends[1] - ends[0]), static_cast<uint32_t>(ends[2] - ends[1])};
  std::memcpy(to, &header, sizeof header);
  return ends[2];
}

std::vector<uint64_t> target_pages(std::span<const CopyRun> runs) noexcept {
  std::vector<uint64_t> pages;
  for (const CopyRun& run : runs) {
    if (pages.empty() || pages.back() != run.target_page()) pages.push_back(run.target_page());
  }
  return pages;
}

Status read_copies(std::span<const uint8_t> payload, uint64_t pages, std::vector<CopyRun>& runs) noexcept {
  runs.clear();
  if (payload.size() > kMaxPayloadBytes) return {EBADMSG, "copies payload is longer than the limit"};
  CopiesHeader header;
  if (payload.size() < sizeof header) return {EBADMSG, "copies payload is shorter than its header"};
  std::memcpy(&header, payload.data(), sizeof header);
  if (header.magic != kCopiesMagic) return {EBADMSG, "copies payload has another format or version"};
  if (kCopiesHeaderBytes + uint64_t{header.target_bytes} + header.length_bytes + header.source_bytes != payload.size()) {
    return {EBADMSG, "copies payload length differs from its header"};
  }
  if (header.runs == 0 || header.runs > kMaxCopyRuns || header.runs > header.target_bytes) {
    return {EBADMSG, "copies payload has no runs, or too many"};
  }
  const uint8_t* const start = payload.data() + kCopiesHeaderBytes;
  Stream targets = {start, start + header.target_bytes};
  Stream lengths = {targets.end, targets.end + header.length_bytes};
  Stream sources = {lengths.end, lengths.end + header.source_bytes};
  const uint64_t limit = pages * kWordsPerPage;
  uint64_t target_end = 0;
  uint64_t source_end = 0;
  std::vector<CopyRun> found;
  found.reserve(header.runs);
  for (uint32_t i = 0; i < header.runs; i++) {
    uint64_t gap, less, jump;
    if (!targets.next(gap) || !lengths.next(less) || !sources.next(jump)) return {EBADMSG, "copies payload is malformed"};
    // None of the numbers is longer than 42 bits, so sums neither wrap nor overflow.
    const uint64_t target = target_end + gap;
    const uint64_t source = source_end + static_cast<uint64_t>(unzigzag(jump));
    const uint64_t words = less + 1;
    if (words > kWordsPerPage || target >= limit || source >= limit || leaves_page(target, words) || leaves_page(source, words)) {
      return {EBADMSG, "a copied run is out of range"};
    }
    found.push_back({target, source, static_cast<uint32_t>(words)});
    target_end = target + words;
    source_end = source + words;
  }
  if (targets.at != targets.end || lengths.at != lengths.end || sources.at != sources.end) {
    return {EBADMSG, "copies payload is malformed"};
  }
  const std::vector<uint64_t> written = target_pages(found);
  for (const CopyRun& run : found) {
    if (std::binary_search(written.begin(), written.end(), run.source_page())) {
      return {EBADMSG, "a run is copied from a page that runs write to"};
    }
  }
  runs = std::move(found);
  return {};
}

}  // namespace romulus
