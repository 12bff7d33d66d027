/** The compressor: what fits comes back, what does not fit says so, and damaged input is refused. */
#include "../engine/zstd_codec.h"

#include <cerrno>
#include <vector>

#include "check.h"
#include "random.h"

using romulus::compress;
using romulus::decompress;

int main() {
  romulus::test::Random random(4);
  for (int i = 0; i < 500; i++) {
    std::vector<uint8_t> from(random.below(20'000));
    for (uint8_t& byte : from) byte = static_cast<uint8_t>(random.below(1 + i % 40));
    std::vector<uint8_t> packed(from.size() + 100);
    uint64_t bytes = 0;
    CHECK(compress(from, packed, {.level = 1 + i % 3, .long_window = i % 2 == 0}, bytes).ok() && bytes > 0);
    packed.resize(bytes);

    std::vector<uint8_t> back(from.size());
    uint64_t length = 0;
    CHECK(decompress(packed, back, length).ok() && length == from.size() && back == from);
    if (!from.empty()) {
      CHECK(decompress(packed, {back.data(), from.size() - 1}, length).error == EBADMSG);
      CHECK(decompress({packed.data(), packed.size() - 1}, back, length).error == EBADMSG);
    }
    packed.push_back(0);
    CHECK(decompress(packed, back, length).error == EBADMSG);
    if (!packed.empty()) packed[random.below(packed.size())] ^= 1u << random.below(8);
    (void)decompress(packed, back, length).ok();

    std::vector<uint8_t> tight(bytes > 1 ? bytes - 1 : 0);
    uint64_t written = 1;
    CHECK(compress(from, tight, {}, written).ok() || !from.empty());
  }
  uint64_t bytes = 1;
  std::vector<uint8_t> noise(10'000);
  for (uint8_t& byte : noise) byte = static_cast<uint8_t>(random.next());
  std::vector<uint8_t> room(9'000);
  CHECK(compress(noise, room, {}, bytes).ok() && bytes == 0);
  CHECK(compress(noise, room, {.level = 99}, bytes).error == EINVAL);

  // What comes again far back in a large payload is found, at the fastest level too.
  std::vector<uint8_t> twice(900'000);
  for (size_t i = 0; i < twice.size(); i++) {
    twice[i] = i < twice.size() / 2 ? static_cast<uint8_t>(random.next() % 16) : twice[i - twice.size() / 2];
  }
  std::vector<uint8_t> packed(twice.size());
  CHECK(compress(twice, packed, {.level = 1}, bytes).ok() && bytes > 0 && bytes < twice.size() * 4 / 10);
  packed.resize(bytes);
  std::vector<uint8_t> back(twice.size());
  CHECK(decompress(packed, back, bytes).ok() && back == twice);

  // Samples that promise less than was asked for end the attempt, though the rest of the payload would give it.
  std::vector<uint8_t> dense(1'000'000);
  for (size_t i = 0; i < dense.size(); i++) dense[i] = static_cast<uint8_t>(random.next() % (i % 250'000 < 20'000 ? 192 : 100));
  std::vector<uint8_t> most(dense.size());
  CHECK(compress(dense, most, {.level = 1}, bytes).ok() && bytes > 0 && bytes < dense.size() * 9 / 10);
  CHECK(compress(dense, {most.data(), dense.size() * 9 / 10}, {.level = 1}, bytes).ok() && bytes == 0);
  CHECK(compress(dense, {most.data(), dense.size() * 9 / 10}, {.level = 6}, bytes).ok() && bytes > 0);
}
