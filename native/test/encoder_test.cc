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
#include "check.h"
#include "random.h"

using namespace romulus;
using test::Random;

namespace {

/** A guest, its shadow and the backup's image. */
struct Pair {
  Mapping memory, shadow, image;
  Bitmap dirty;
  SlabPool slabs;
  Encoder encoder;
  uint64_t image_digest = 0;

  /** `copies`: pages of shadow; as many as the guest has unless given. */
  Pair(uint64_t pages, uint32_t threads, uint64_t slab_bytes, uint32_t max_slabs, uint64_t copies = ~uint64_t{0})
      : slabs(slab_bytes, max_slabs), encoder(memory, shadow, threads, slabs) {
    copies = std::min(copies, pages);
    CHECK(memory.anonymous(pages * kPageBytes).ok() && (copies == 0 || shadow.anonymous(copies * kPageBytes).ok()));
    CHECK(image.anonymous(pages * kPageBytes).ok() && dirty.create(pages).ok() && encoder.prepare().ok());
  }

  /** Encodes, applies and releases until nothing is left; returns the number of encode calls. */
  int replicate(Grain grain = Grain::words) {
    for (int calls = 1;; calls++) {
      EncodeOutcome outcome;
      CHECK(encoder.encode(dirty, grain, outcome).ok());
      std::vector<std::span<const uint8_t>> payloads;
      for (const Chunk& chunk : outcome.chunks) {
        CHECK(chunk.payload_bytes <= slabs.payload_bytes());
        payloads.emplace_back(slabs.payload(chunk.slab), chunk.payload_bytes);
        CHECK(crc32c(payloads.back()) == chunk.crc32c);
      }
      ApplyOutcome applied;
      CHECK(apply_payloads(image, payloads, 2, applied).ok());
      image_digest += applied.digest_change;
      ApplyOutcome again;
      CHECK(apply_payloads(image, payloads, 2, again).ok() && again.digest_change == 0);
      for (const Chunk& chunk : outcome.chunks) CHECK(slabs.release(chunk.slab));
      CHECK(slabs.free_count() == slabs.count());
      CHECK(outcome.complete == (dirty.count() == 0));
      if (outcome.complete) return calls;
    }
  }

  void check_agreement() {
    if (shadow.bytes() == image.bytes()) CHECK(std::memcmp(image.data(), shadow.data(), image.bytes()) == 0);
    CHECK(image_digest == digest_of(image, 2) && image_digest == encoder.digest());
  }
};

void scribble(Pair& pair, Random& random, int writes) {
  for (int i = 0; i < writes; i++) {
    const uint64_t page = random.below(pair.dirty.pages());
    const uint64_t length = 1 + random.below(random.below(4) == 0 ? 4096 : 40);
    const uint64_t at = random.below(kPageBytes - length + 1);
    const uint8_t value = random.below(3) == 0 ? 0 : static_cast<uint8_t>(random.next());
    std::memset(pair.memory.data() + page * kPageBytes + at, value, length);
    pair.dirty.set(page);
  }
}

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

void a_running_guest_tears_nothing() {
  Pair pair(64, 2, 1 << 20, 8);
  std::atomic<bool> running{true};
  std::thread guest([&] {
    Random random(9);
    auto* words = reinterpret_cast<uint64_t*>(pair.memory.data());
    while (running) {
      const uint64_t at = random.below(pair.memory.bytes() / 8);
      __atomic_store_n(words + at, random.below(3) == 0 ? 0 : random.next(), __ATOMIC_RELAXED);
    }
  });
  for (int i = 0; i < 2000; i++) {
    pair.dirty.set_all();
    pair.replicate();
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
  CHECK(apply_payloads(pair.image, payloads, 2, applied).error == EBADMSG);
  CHECK(digest_of(pair.image, 1) == 0);
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
  a_running_guest_tears_nothing();
  a_bad_payload_leaves_the_image_alone();
}
