/** Encoder and apply together: epochs reproduce memory, slabs bound them, and a guest that runs meanwhile tears nothing. */
#include "../engine/encoder.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>
#include <vector>

#include "../engine/apply.h"
#include "../engine/crc32c.h"
#include "../engine/payload.h"
#include "pair.h"

using namespace romulus;
using namespace romulus::test;

namespace {

void epochs_reproduce_memory(uint32_t threads) {
  Random random(threads);
  Pair pair(3000, threads, 1 << 20, 64);
  for (int epoch = 0; epoch < 30; epoch++) {
    scribble(pair, random, 1 << random.below(11));
    CHECK(pair.replicate(epoch % 3 == 0 ? Grain::words : Grain::bytes) == 1);
    CHECK(std::memcmp(pair.memory.data(), pair.shadow.data(), pair.memory.bytes()) == 0);
    pair.check_agreement();
  }
}

void a_bounded_shadow_reproduces_memory(uint32_t threads, uint64_t copies) {
  Random random(threads + copies);
  Pair pair(1000, threads, Encoder::kMinSlabBytes, 6, copies);
  pair.dirty.set_all();
  for (int epoch = 0; epoch < 60; epoch++) {
    scribble(pair, random, 1 << random.below(9));
    if (random.below(4) == 0) {  // pages that become zero again
      for (uint64_t page = random.below(1000), end = std::min<uint64_t>(page + 100, 1000); page < end; page++) {
        std::memset(pair.memory.data() + page * kPageBytes, 0, kPageBytes);
        pair.dirty.set(page);
      }
    }
    pair.replicate(epoch % 2 == 0 ? Grain::words : Grain::bytes);
    CHECK(std::memcmp(pair.memory.data(), pair.image.data(), pair.memory.bytes()) == 0);
    pair.check_agreement();
  }
}

void a_bounded_shadow_keeps_what_was_dirtied_last() {
  Pair pair(100, 1, 1 << 20, 4, 10);
  const auto changed_words = [&](uint64_t first, uint64_t count) {
    for (uint64_t page = first; page < first + count; page++) {
      pair.memory.data()[page * kPageBytes + 8] += 1;
      pair.dirty.set(page);
    }
    EncodeOutcome outcome;
    CHECK(pair.encoder.encode(pair.dirty, Grain::words, outcome).ok());
    for (const Chunk& chunk : outcome.chunks) CHECK(pair.slabs.release(chunk.slab));
    return outcome.counts.changed_words;
  };
  for (uint64_t at = 0; at < pair.memory.bytes(); at += 8) pair.memory.data()[at] = 1;
  pair.dirty.set_all();
  changed_words(0, 0);
  CHECK(changed_words(50, 10) == 10 * 512);
  CHECK(changed_words(50, 10) == 10);
  CHECK(changed_words(70, 5) == 5 * 512);
  CHECK(changed_words(55, 5) == 5);  // the five newest of the ten
  CHECK(changed_words(50, 5) == 5 * 512);
}

void exhausted_slabs_leave_the_rest_dirty(uint32_t threads) {
  Random random(7);
  Pair pair(2000, threads, Encoder::kMinSlabBytes, 2);
  for (uint64_t at = 0; at < pair.memory.bytes(); at += 8) {
    const uint64_t value = random.next();
    std::memcpy(pair.memory.data() + at, &value, 8);
  }
  pair.dirty.set_all();
  CHECK(pair.replicate() > 100);
  pair.check_agreement();
}

void a_running_guest_tears_nothing(bool copies) {
  Pair pair(64, 2, 1 << 20, 8);
  std::atomic<bool> running{true};
  std::thread guest([&] {
    Random random(9);
    auto* words = reinterpret_cast<uint64_t*>(pair.memory.data());
    while (running) {
      const uint64_t at = random.below(pair.memory.bytes() / 8);
      __atomic_store_n(words + at, random.below(3) == 0 ? 0 : random.next(), __ATOMIC_RELAXED);
      if (!copies || random.below(8) != 0) continue;
      const uint64_t from = random.below(63) * 512;
      const uint64_t to = random.below(63) * 512 + random.below(40);
      for (uint64_t w = 0; w < 400; w++) __atomic_store_n(words + to + w, words[from + w], __ATOMIC_RELAXED);
    }
  });
  for (int i = 0; i < 2000; i++) {
    pair.dirty.set_all();
    pair.replicate(Grain::words, copies);
    if (i % 50 == 0) pair.check_agreement();
  }
  running = false;
  guest.join();
  pair.check_agreement();
}

void a_bad_payload_leaves_the_image_alone() {
  Pair pair(16, 1, 1 << 20, 4);
  pair.memory.data()[5000] = 1;
  pair.dirty.set(1);
  EncodeOutcome outcome;
  CHECK(pair.encoder.encode(pair.dirty, Grain::words, outcome).ok() && outcome.chunks.size() == 1);
  const std::vector<uint8_t> cut(pair.slabs.payload(0), pair.slabs.payload(0) + outcome.chunks[0].payload_bytes - 1);
  const std::span<const uint8_t> payloads[] = {{pair.slabs.payload(0), outcome.chunks[0].payload_bytes}, cut};
  ApplyOutcome applied;
  CHECK(apply_epoch(pair.image, payloads, 2, applied).error == EBADMSG);
  CHECK(digest_of(pair.image, 1) == 0);
}

void epochs_with_copies_reproduce_memory(uint32_t threads, uint64_t copies) {
  Random random(threads + copies);
  Pair pair(1500, threads, 1 << 20, 64, copies);
  fill(pair, random, 0, 300);
  for (int epoch = 0; epoch < 60; epoch++) {
    move_blocks(pair, random, static_cast<int>(random.below(120)));
    scribble(pair, random, static_cast<int>(random.below(100)));
    if (epoch % 5 == 0) fill(pair, random, random.below(1400), 10);
    if (epoch == 7) while (pair.encoder.note_shadow(100)) continue;
    CHECK(pair.replicate(epoch % 3 == 0 ? Grain::words : Grain::bytes, epoch % 7 != 3) == 1);
    CHECK(std::memcmp(pair.memory.data(), pair.image.data(), pair.memory.bytes()) == 0);
    pair.check_agreement();
  }
  CHECK(copies == 0 ? pair.runs == 0 : pair.runs > 20);
}

void exhausted_slabs_leave_one_epoch_of_copies(uint32_t threads, uint32_t max_slabs) {
  Random random(threads + max_slabs);
  Pair pair(600, threads, Encoder::kMinSlabBytes, max_slabs);
  fill(pair, random, 0, 400);
  int most = 0;
  for (int epoch = 0; epoch < 40; epoch++) {
    move_blocks(pair, random, 100);
    scribble(pair, random, 200);
    most = std::max(most, pair.replicate(Grain::bytes, true));
    CHECK(std::memcmp(pair.memory.data(), pair.image.data(), pair.memory.bytes()) == 0);
    pair.check_agreement();
  }
  CHECK(most > 1 && pair.runs > 0);
}

void a_copied_page_costs_its_place() {
  Random random(1);
  Pair pair(4096, 1, 1 << 20, 8);
  fill(pair, random, 0, 100);
  pair.replicate(Grain::bytes, true);
  std::memcpy(pair.page(2000), pair.page(0), 100 * kPageBytes);
  // Shifted by five words, as frames of a log are by their heads.
  std::memcpy(pair.page(3000) + 40, pair.page(50), 20 * kPageBytes);
  pair.dirty.set(2000, 100);
  pair.dirty.set(3000, 21);
  std::vector<Bytes> chunks;
  CHECK(pair.encode(Grain::bytes, true, chunks).complete && chunks.size() == 1);
  // What is left: places in the page head, and words near borders of pages that hold no anchor.
  CHECK(chunks[0].size() < 121 * 40);
}

void zero_and_repeated_words_are_not_copied() {
  Pair pair(300, 1, 1 << 20, 8);
  std::memset(pair.page(0), 0x55, 100 * kPageBytes);
  pair.dirty.set(0, 100);
  pair.replicate(Grain::bytes, true);
  std::memset(pair.page(100), 0x55, 100 * kPageBytes);
  std::memset(pair.page(0), 0, 50 * kPageBytes);
  pair.dirty.set(0, 200);
  pair.replicate(Grain::bytes, true);
  CHECK(pair.runs == 0);
  pair.check_agreement();
}

}  // namespace

int main() {
  for (const uint32_t threads : {1u, 2u, 5u}) {
    epochs_reproduce_memory(threads);
    exhausted_slabs_leave_the_rest_dirty(threads);
  }
  for (const uint64_t copies : {0u, 1u, 100u, 999u}) {
    a_bounded_shadow_reproduces_memory(1, copies);
    a_bounded_shadow_reproduces_memory(3, copies);
  }
  a_bounded_shadow_keeps_what_was_dirtied_last();
  a_running_guest_tears_nothing(false);
  a_running_guest_tears_nothing(true);
  for (const uint32_t threads : {1u, 3u}) {
    for (const uint64_t copies : {0u, 400u, 1499u, 1500u}) epochs_with_copies_reproduce_memory(threads, copies);
    for (const uint32_t slabs : {4u, 9u, 30u}) exhausted_slabs_leave_one_epoch_of_copies(threads, slabs);
  }
  a_copied_page_costs_its_place();
  zero_and_repeated_words_are_not_copied();
  a_bad_payload_leaves_the_image_alone();
}
