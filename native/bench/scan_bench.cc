/** Each method gets the same bitmap anew, out of the caches ("cold") or in them as far as they go ("warm"). */
#include "scan_bench.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "../engine/bits.h"
#include "../engine/cpu.h"
#include "../engine/kernels.h"
#include "../engine/mapping.h"
#include "../engine/scan.h"
#include "limits.h"
#include "measure.h"

namespace romulus::bench {
namespace {

constexpr uint64_t kPagesPerGib = (uint64_t{1} << 30) / kPageBytes;

/** Lists (or only reads) the bitmap; returns the pages found. */
using Scan = std::function<uint64_t(uint64_t* words, uint64_t count, uint32_t* out)>;

/** One bit test per page, as in Xen's save loop. */
uint64_t scan_naive(uint64_t* words, uint64_t count, uint32_t* out) {
  const volatile uint64_t* bits = words;
  uint64_t found = 0;
  for (uint64_t page = 0; page < count * 64; page++) {
    if ((bits[page / 64] >> page % 64 & 1) != 0) out[found++] = static_cast<uint32_t>(page);
  }
  return found;
}

uint64_t read_once(uint64_t* words, uint64_t count, uint32_t*) {
  keep(read_range(reinterpret_cast<const uint8_t*>(words), count * 8));
  return 0;
}

void measure(const std::vector<uint64_t>& bitmap, const char* shape, double density, uint64_t guest_gib, uint32_t threads,
             uint32_t rounds, Rows& rows) {
  const uint64_t count = bitmap.size();
  Mapping copy;
  Mapping list;
  if (!copy.anonymous(count * 8).ok() || !list.anonymous((count * 64 + kStoreSlackBytes) * sizeof(uint32_t)).ok()) return;
  auto* words = reinterpret_cast<uint64_t*>(copy.data());
  auto* out = reinterpret_cast<uint32_t*>(list.data());
  Mapping words_list;
  if (!words_list.anonymous(scan_list_bytes(count)).ok()) return;
  auto* found = reinterpret_cast<uint32_t*>(words_list.data());
  const auto with = [found](const Kernels& kernel) -> Scan {
    return [&kernel, found](uint64_t* from, uint64_t length, uint32_t*) { return kernel.find_words(from, length, 0, found).pages; };
  };
  // As the threads of an encode do it, some words at a time; here their pages are not worked on in between.
  const auto listing = [found](const Kernels& kernel) -> Scan {
    return [&kernel, found](uint64_t* from, uint64_t length, uint32_t* to) {
      const DirtyWords dirty = kernel.find_words(from, length, 0, found);
      return uint64_t{kernel.take_pages(from, found, dirty.words, to)};
    };
  };
  const auto parallel = [threads, found](uint64_t* from, uint64_t length, uint32_t*) {
    return scan_words({from, length}, threads, found).pages;
  };
  uint64_t dirty_pages = 0;
  for (const uint64_t word : bitmap) dirty_pages += popcount64(word);
  const auto read_and_write = [dirty_pages](uint64_t* from, uint64_t length, uint32_t* to) {
    keep(read_and_list(reinterpret_cast<const uint8_t*>(from), length * 8, dirty_pages, to));
    return dirty_pages;
  };
  const std::pair<const char*, Scan> methods[] = {{"limit-read", read_once},
                                                  {"limit-list", read_and_write},
                                                  {"naive", scan_naive},
                                                  {"portable", with(kPortableKernels)},
                                                  {"portable+list", listing(kPortableKernels)},
                                                  {"romulus", with(kernels())},
                                                  {"romulus+list", listing(kernels())},
                                                  {"romulus-threads", parallel}};
  for (const char* cache : {"cold", "warm"}) {
    for (const auto& [name, scan] : methods) {
      std::vector<Times> runs;
      uint64_t pages = 0;
      const uint32_t least = 3;
      for (uint32_t round = 0; round < std::max(rounds, least); round++) {
        std::memcpy(words, bitmap.data(), count * 8);
        if (cache[0] == 'c') flush(words, count * 8);
        Times times;
        timed(times, [&] { pages = scan(words, count, out); });
        runs.push_back(times);
      }
      const Times times = median(runs);
      rows.row()
          .field("guestGiB", guest_gib)
          .field("density", density)
          .field("shape", shape)
          .field("method", name)
          .field("cache", cache)
          .field("ns", times.ns)
          .field("pages", pages);
    }
  }
}

uint64_t xorshift(uint64_t& state) noexcept {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

}  // namespace

void bench_scan(uint64_t guest_gib, uint32_t threads, uint32_t rounds, Rows& rows) {
  const uint64_t pages = guest_gib * kPagesPerGib;
  uint64_t state = 42;
  for (const double density : {0.0001, 0.001, 0.01, 0.1, 0.45}) {
    std::vector<uint64_t> bitmap(pages / 64);
    const auto wanted = static_cast<uint64_t>(density * static_cast<double>(pages));
    for (uint64_t i = 0; i < wanted; i++) {
      const uint64_t page = xorshift(state) % pages;
      bitmap[page / 64] |= uint64_t{1} << page % 64;
    }
    measure(bitmap, "random", density, guest_gib, threads, rounds, rows);
    std::fill(bitmap.begin(), bitmap.end(), 0);
    for (uint64_t set = 0; set < wanted;) {
      const uint64_t length = 1 + xorshift(state) % 32;
      uint64_t page = xorshift(state) % pages;
      for (uint64_t i = 0; i < length && page < pages; i++, page++, set++) bitmap[page / 64] |= uint64_t{1} << page % 64;
    }
    measure(bitmap, "runs", density, guest_gib, threads, rounds, rows);
  }
}

void bench_scan_trace(const Trace& trace, uint64_t guest_gib, uint32_t threads, uint32_t rounds, Rows& rows) {
  if (trace.epochs().empty()) return;
  const TraceEpoch& epoch = trace.epochs()[trace.epochs().size() / 2];
  const uint64_t period = pages_in(trace.ram_bytes());
  std::vector<uint64_t> bitmap(guest_gib * kPagesPerGib / 64);
  for (uint64_t start = 0; start < bitmap.size() * 64; start += period) {
    for (const uint32_t page : epoch.pages) {
      const uint64_t at = start + page;
      if (at < bitmap.size() * 64) bitmap[at / 64] |= uint64_t{1} << at % 64;
    }
  }
  const std::string shape = trace.name() + "-" + std::to_string(trace.epoch_ms());
  measure(bitmap, shape.c_str(), static_cast<double>(epoch.pages.size()) / static_cast<double>(period), guest_gib, threads,
          rounds, rows);
}

}  // namespace romulus::bench
