/** One method after the other over all epochs of a trace; in each epoch only the method itself is timed. */
#include "delta_bench.h"

#include <functional>

#include "../engine/apply.h"
#include "../engine/zstd_codec.h"
#include "replica.h"
#include "xbzrle.h"

namespace romulus::bench {
namespace {

struct Sizes {
  uint64_t delta_bytes = 0;
  uint64_t wire_bytes = 0;
};

/** Encodes one epoch; the bytes it would send. */
using Method = std::function<Sizes(Replica&, const TraceEpoch&)>;

/** What QEMU puts before a page on its stream: address and flags; for a delta also a flag byte and a length. */
constexpr uint64_t kQemuPageHead = 8;
constexpr uint64_t kQemuZeroHead = 9;
constexpr uint64_t kQemuDeltaHead = 11;

bool is_zero(const uint8_t* page) noexcept {
  return page[0] == 0 && std::memcmp(page, page + 1, kPageBytes - 1) == 0;
}

/**
 * `cached`: with what QEMU does around it, a copy of the page first, since the guest may write meanwhile, and the changed
 * page into its cache afterwards. That much Romulus does in its one pass.
 */
Method xbzrle(XbzrleEncode encode, bool cached) {
  return [encode, cached, out = std::vector<uint8_t>(2 * kPageBytes), copy = std::vector<uint8_t>(kPageBytes)](
             Replica& replica, const TraceEpoch& epoch) mutable {
    uint64_t bytes = 0;
    for (const uint32_t page : epoch.pages) {
      const uint8_t* now = replica.memory.data() + page * kPageBytes;
      uint8_t* const before = replica.shadow.data() + page * kPageBytes;
      if (is_zero(now)) {
        bytes += kQemuZeroHead;
        continue;
      }
      if (cached) {
        std::memcpy(copy.data(), now, kPageBytes);
        now = copy.data();
      }
      const uint64_t delta = encode(before, now, out.data());
      if (cached && delta != 0) std::memcpy(before, now, kPageBytes);
      if (delta != 0) bytes += delta == kXbzrleMost ? kQemuPageHead + kPageBytes : kQemuDeltaHead + delta;
    }
    return Sizes{bytes, bytes};
  };
}

Sizes encode_epoch(Replica& replica, Grain grain, std::vector<Chunk>& chunks, bool copies = false) {
  EncodeOutcome outcome;
  if (!replica.encoder.encode(replica.dirty, grain, outcome, copies).ok()) return {};
  chunks = std::move(outcome.chunks);
  return {outcome.payload_bytes, outcome.payload_bytes};
}

void release(Replica& replica, const std::vector<Chunk>& chunks) {
  for (const Chunk& chunk : chunks) replica.slabs.release(chunk.slab);
}

Method romulus_plain(Grain grain, bool copies = false) {
  return [grain, copies](Replica& replica, const TraceEpoch&) {
    std::vector<Chunk> chunks;
    const Sizes sizes = encode_epoch(replica, grain, chunks, copies);
    release(replica, chunks);
    return sizes;
  };
}

/** Agents send a payload as it is unless compressing it leaves less than this (shared/wire/compression.ts). */
constexpr double kWorthwhileShare = 0.9;

Method romulus_zstd(Grain grain, CompressOptions options, bool copies = false) {
  return [options, grain, copies, out = std::vector<uint8_t>(1 << 21)](Replica& replica, const TraceEpoch&) mutable {
    std::vector<Chunk> chunks;
    Sizes sizes = encode_epoch(replica, grain, chunks, copies);
    sizes.wire_bytes = 0;
    for (const Chunk& chunk : chunks) {
      const std::span<const uint8_t> payload(replica.slabs.payload(chunk.slab), chunk.payload_bytes);
      uint64_t written = 0;
      const uint64_t room = static_cast<uint64_t>(static_cast<double>(payload.size()) * kWorthwhileShare);
      if (!compress(payload, {out.data(), room}, options, written).ok() || written == 0) written = payload.size();
      sizes.wire_bytes += written;
    }
    release(replica, chunks);
    return sizes;
  };
}

/** Room for all pages of an epoch, touched before it is measured. */
uint8_t* room_for(const TraceEpoch& epoch) {
  static std::vector<uint8_t> out;
  if (out.size() < epoch.pages.size() * kPageBytes) out.resize(epoch.pages.size() * kPageBytes);
  return out.data();
}

Sizes copy_pages(Replica& replica, const TraceEpoch& epoch) {
  const uint64_t bytes = copy_out(replica.pair(epoch), room_for(epoch)) + epoch.pages.size() * kQemuPageHead;
  return {bytes, bytes};
}

Sizes update_pages(Replica& replica, const TraceEpoch& epoch) {
  return {update_and_copy_out(replica.pair(epoch), replica.shadow.data(), room_for(epoch)), 0};
}

Sizes follow_pages(Replica& replica, const TraceEpoch& epoch) {
  return {compare_and_update(replica.pair(epoch), replica.shadow.data()), 0};
}

/** All epochs but the first, in which every method touches its buffers for the first time. */
std::span<const TraceEpoch> measured(const Trace& trace) {
  return std::span(trace.epochs()).subspan(trace.epochs().size() > 1 ? 1 : 0);
}

void report(const Trace& trace, const char* method, uint32_t threads, const Sizes& sizes, const Times& times, Rows& rows) {
  uint64_t pages = 0;
  for (const TraceEpoch& epoch : measured(trace)) pages += epoch.pages.size();
  const uint64_t raw = pages * kPageBytes;
  std::string label = trace.name();
  if (trace.epoch_ms() != 0) label.append("-").append(std::to_string(trace.epoch_ms()));
  rows.row()
      .field("trace", label)
      .field("method", method)
      .field("threads", uint64_t{threads})
      .field("pages", pages)
      .field("rawBytes", raw)
      .field("deltaBytes", sizes.delta_bytes)
      .field("wireBytes", sizes.wire_bytes)
      .field("ns", times.ns)
      .field("cpuNs", times.cpu_ns)
      .field("gbPerS", static_cast<double>(raw) / static_cast<double>(times.ns))
      .field("gbPerCpuS", static_cast<double>(raw) / static_cast<double>(times.cpu_ns));
}

/** One round over all epochs; what it took and sent in those that count. */
std::pair<Times, Sizes> run(const Trace& trace, Replica& replica, const Method& method) {
    replica.rewind(trace);
    Times times;
    Sizes sizes;
    for (const TraceEpoch& epoch : trace.epochs()) {
      Trace::advance(replica.memory, epoch);
      replica.mark_dirty(epoch);
      replica.make_cold(epoch);
      Sizes got;
      Times taken;
      timed(taken, [&] { got = method(replica, epoch); });
      keep(got.delta_bytes);
      if (&epoch >= measured(trace).data()) {
        times += taken;
        sizes.delta_bytes += got.delta_bytes;
        sizes.wire_bytes += got.wire_bytes;
      }
      replica.catch_up(epoch);
      replica.dirty.clear();
    }
    return {times, sizes};
}

void measure(const Trace& trace, Replica& replica, const char* name, uint32_t threads, uint32_t rounds,
             const Method& method, Rows& rows) {
  std::vector<Times> runs;
  Sizes sizes;
  for (uint32_t round = 0; round < rounds; round++) {
    const auto [times, got] = run(trace, replica, method);
    runs.push_back(times);
    sizes = got;
  }
  report(trace, name, threads, sizes, median(runs), rows);
}

/** Each round with an encoder of its own, which has seen no page and noted no place. */
void measure_copies(const Trace& trace, const char* name, uint32_t rounds, const Method& method, Rows& rows) {
  std::vector<Times> runs;
  Sizes sizes;
  for (uint32_t round = 0; round < rounds; round++) {
    Replica replica(trace, 1);
    if (!replica.ready) return;
    const auto [times, got] = run(trace, replica, method);
    runs.push_back(times);
    sizes = got;
  }
  report(trace, name, 1, sizes, median(runs), rows);
}

}  // namespace

void bench_delta(const Trace& trace, uint32_t max_threads, uint32_t rounds, Rows& rows) {
  const auto read = [](Replica& replica, const TraceEpoch& epoch) { return Sizes{read_both(replica.pair(epoch)), 0}; };
  const auto compare = [](Replica& replica, const TraceEpoch& epoch) {
    return Sizes{compare_both(replica.pair(epoch)), 0};
  };
  Replica single(trace, 1);
  if (!single.ready) return;
  measure(trace, single, "limit-read", 1, rounds, read, rows);
  measure(trace, single, "limit-compare", 1, rounds, compare, rows);
  measure(trace, single, "limit-follow", 1, rounds, follow_pages, rows);
  measure(trace, single, "pages", 1, rounds, copy_pages, rows);
  measure(trace, single, "limit-update", 1, rounds, update_pages, rows);
  measure(trace, single, "xbzrle", 1, rounds, xbzrle(xbzrle_encode_scalar, false), rows);
  measure(trace, single, "xbzrle-simd", 1, rounds, xbzrle(xbzrle_encode_simd, false), rows);
  measure(trace, single, "xbzrle-simd+cache", 1, rounds, xbzrle(xbzrle_encode_simd, true), rows);
  for (uint32_t threads = 1; threads <= max_threads; threads *= 2) {
    if (threads == 1) {
      measure(trace, single, "romulus", 1, rounds, romulus_plain(Grain::bytes), rows);
      measure(trace, single, "romulus-words", 1, rounds, romulus_plain(Grain::words), rows);
      continue;
    }
    Replica replica(trace, threads);
    if (replica.ready) measure(trace, replica, "romulus", threads, rounds, romulus_plain(Grain::bytes), rows);
  }
  measure(trace, single, "romulus+zstd1", 1, rounds, romulus_zstd(Grain::bytes, {.level = 1}), rows);
  measure_copies(trace, "romulus+copies", rounds, romulus_plain(Grain::bytes, true), rows);
  measure_copies(trace, "romulus+copies+zstd1", rounds, romulus_zstd(Grain::bytes, {.level = 1}, true), rows);
  measure_copies(trace, "romulus-words+copies+zstd1", rounds, romulus_zstd(Grain::words, {.level = 1}, true), rows);
  measure(trace, single, "romulus-words+zstd1", 1, rounds, romulus_zstd(Grain::words, {.level = 1}), rows);
  measure(trace, single, "romulus-words+zstd2", 1, rounds, romulus_zstd(Grain::words, {.level = 2}), rows);
  measure(trace, single, "romulus-words+zstd1long", 1, rounds, romulus_zstd(Grain::words, {.level = 1, .long_window = true}), rows);
  measure(trace, single, "romulus+zstd-fast3", 1, rounds, romulus_zstd(Grain::bytes, {.level = -3}), rows);
  measure(trace, single, "romulus-words+zstd3", 1, rounds, romulus_zstd(Grain::words, {.level = 3}), rows);
}

void bench_apply(const Trace& trace, uint32_t max_threads, uint32_t rounds, Rows& rows) {
  for (uint32_t threads = 1; threads <= max_threads; threads *= 2) {
    std::vector<Times> copies;
    std::vector<Times> applies;
    Sizes sizes;
    Replica replica(trace, threads);
    Mapping image;
    if (!replica.ready || !image.anonymous(trace.ram_bytes()).ok()) return;
    for (uint32_t round = 0; round < rounds; round++) {
      replica.rewind(trace);
      trace.load_initial(image);
      Times copying;
      Times applying;
      sizes = {};
      for (const TraceEpoch& epoch : trace.epochs()) {
        Trace::advance(replica.memory, epoch);
        replica.mark_dirty(epoch);
        std::vector<Chunk> chunks;
        const Sizes got = encode_epoch(replica, Grain::bytes, chunks);
        std::vector<std::span<const uint8_t>> payloads;
        for (const Chunk& chunk : chunks) payloads.emplace_back(replica.slabs.payload(chunk.slab), chunk.payload_bytes);
        for (const uint32_t page : epoch.pages) flush(image.data() + page * kPageBytes, kPageBytes);
        ApplyOutcome outcome;
        Times apply;
        Times copy;
        timed(apply, [&] { keep(apply_epoch(image, payloads, threads, outcome).ok()); });
        release(replica, chunks);
        replica.make_cold(epoch);
        for (const uint32_t page : epoch.pages) flush(image.data() + page * kPageBytes, kPageBytes);
        timed(copy, [&] {
          for (const uint32_t page : epoch.pages) {
            std::memcpy(image.data() + page * kPageBytes, replica.memory.data() + page * kPageBytes, kPageBytes);
          }
        });
        if (&epoch < measured(trace).data()) continue;
        copying += copy;
        applying += apply;
        sizes.delta_bytes += got.delta_bytes;
      }
      copies.push_back(copying);
      applies.push_back(applying);
    }
    if (threads == 1) report(trace, "limit-copy", 1, sizes, median(copies), rows);
    report(trace, "romulus", threads, sizes, median(applies), rows);
  }
}

}  // namespace romulus::bench
