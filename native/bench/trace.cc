/** The format's parts lie one after the other; each is checked against what is left before it is used. */
#include "trace.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "../engine/bits.h"
#include "../engine/page.h"
#include "../engine/zstd_file.h"

namespace romulus::bench {
namespace {

constexpr uint64_t kHeaderBytes = 64;
constexpr uint64_t kEpochHeadBytes = 24;
/** Unpacked, a trace is held in memory. */
constexpr uint64_t kMaxTraceBytes = uint64_t{8} << 30;

/** All of a zstd file, unpacked. */
bool unpack(const char* path, std::vector<uint8_t>& out) noexcept {
  ZstdFile file;
  if (!file.open(path).ok()) return false;
  for (uint64_t used = 0, got = 0;; used += got) {
    if (out.size() - used < (1 << 20)) out.resize(out.size() * 2 + (1 << 22));
    if (out.size() > kMaxTraceBytes || !file.fill({out.data() + used, out.size() - used}, got).ok()) return false;
    if (used + got < out.size()) {
      out.resize(used + got);
      return true;
    }
  }
}

}  // namespace

Status Trace::read(const char* path) noexcept {
  std::vector<uint8_t> content;
  if (!unpack(path, content)) return {EBADMSG, "the trace cannot be read"};
  return parse(std::move(content));
}

Status Trace::parse(std::vector<uint8_t> content) noexcept {
  content_ = std::move(content);
  const uint8_t* at = content_.data();
  uint64_t left = content_.size();
  const auto take = [&](uint64_t bytes) -> const uint8_t* {
    if (left < bytes) return nullptr;
    const uint8_t* part = at;
    at += bytes;
    left -= bytes;
    return part;
  };
  const Status cut = {EBADMSG, "the trace is cut short or no trace"};
  const uint8_t* header = take(kHeaderBytes);
  if (header == nullptr || std::memcmp(header, "FTRACE1\0", 8) != 0) return cut;
  ram_bytes_ = load_le<uint64_t>(header + 8);
  epoch_ms_ = load_le<uint32_t>(header + 16);
  const uint64_t epochs = load_le<uint32_t>(header + 20);
  const uint64_t union_pages = load_le<uint32_t>(header + 24);
  const char* name = reinterpret_cast<const char*>(header + 32);
  name_.assign(name, strnlen(name, 32));
  const uint64_t pages = pages_in(ram_bytes_);
  if (pages == 0 || pages > kMaxPages || pages % 64 != 0) return cut;
  // Every page has a hash and every epoch a bitmap: a file too short for them is refused before anything is allocated.
  if (left < pages * 8 || left / (pages / 8) < epochs) return cut;
  if (take(epochs * kEpochHeadBytes) == nullptr) return cut;

  std::vector<bool> in_union(pages);
  for (uint64_t e = 0; e < epochs; e++) {
    const uint8_t* bitmap = take(pages / 8);
    if (bitmap == nullptr) return cut;
    TraceEpoch& epoch = epochs_.emplace_back();
    for (uint64_t w = 0; w < pages / 64; w++) {
      for (uint64_t bits = load_le<uint64_t>(bitmap + w * 8); bits != 0; bits &= bits - 1) {
        epoch.pages.push_back(static_cast<uint32_t>(w * 64 + lowest_bit(bits)));
        in_union[epoch.pages.back()] = true;
      }
    }
  }
  for (uint64_t p = 0; p < pages; p++) {
    if (in_union[p]) union_pages_.push_back(static_cast<uint32_t>(p));
  }
  if (union_pages_.size() != union_pages || take(pages * 8) == nullptr) return cut;
  initial_ = take(union_pages * kPageBytes);
  if (initial_ == nullptr) return cut;
  for (TraceEpoch& epoch : epochs_) {
    epoch.changes = take(epoch.pages.size() * kPageBytes);
    if (epoch.changes == nullptr) return cut;
  }
  return {};
}

void Trace::synthesize(std::string name, uint64_t pages, uint32_t epochs, uint32_t words) {
  name_ = std::move(name);
  ram_bytes_ = pages * kPageBytes;
  epoch_ms_ = 0;
  content_.assign((1 + epochs) * ram_bytes_, 0);
  uint64_t state = 1;
  const auto random = [&state] {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
  };
  for (uint32_t p = 0; p < pages; p++) union_pages_.push_back(p);
  initial_ = content_.data();
  for (uint32_t e = 0; e < epochs; e++) {
    uint8_t* changes = content_.data() + (1 + e) * ram_bytes_;
    for (uint64_t p = 0; p < pages; p++) {
      for (uint32_t w = 0; w < words; w++) {
        const uint64_t word = words == 512 ? w : random() % 512;
        store_le(changes + p * kPageBytes + word * 8, random());
      }
    }
    epochs_.push_back({union_pages_, changes});
  }
}

void Trace::load_initial(Mapping& memory) const noexcept {
  for (size_t i = 0; i < union_pages_.size(); i++) {
    std::memcpy(memory.data() + union_pages_[i] * kPageBytes, initial_ + i * kPageBytes, kPageBytes);
  }
}

void Trace::advance(Mapping& memory, const TraceEpoch& epoch) noexcept {
  for (size_t i = 0; i < epoch.pages.size(); i++) {
    uint8_t* page = memory.data() + epoch.pages[i] * kPageBytes;
    const uint8_t* change = epoch.changes + i * kPageBytes;
    for (uint64_t b = 0; b < kPageBytes; b += 8) store_le(page + b, load_le<uint64_t>(page + b) ^ load_le<uint64_t>(change + b));
  }
}

}  // namespace romulus::bench
