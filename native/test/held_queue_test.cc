/** Frames leave in order, and never before the epoch they belong to. */
#include "../gate/held_queue.h"

#include <vector>

#include "check.h"

using romulus::gate::HeldQueue;

namespace {

constexpr uint64_t kUnlimited = 1 << 20;

void push(HeldQueue& queue, uint8_t value) { queue.push({&value, 1}, 0); }

/** Takes out what may leave with `epoch`. */
std::vector<uint8_t> leave(HeldQueue& queue, uint64_t epoch) {
  std::vector<uint8_t> left;
  std::span<const uint8_t> out[3];
  for (size_t count; (count = queue.next(epoch, out)) > 0; queue.pop(count)) {
    for (size_t i = 0; i < count; i++) left.push_back(out[i][0]);
  }
  return left;
}

using Values = std::vector<uint8_t>;

void test_epochs_stay_apart() {
  HeldQueue queue(kUnlimited, kUnlimited);
  for (uint8_t epoch = 1; epoch <= 5; epoch++) {
    push(queue, epoch);
    queue.seal(epoch);
  }
  push(queue, 6);
  CHECK(leave(queue, 0) == Values{});
  CHECK(leave(queue, 2) == (Values{1, 2}));
  CHECK(leave(queue, 5) == (Values{3, 4, 5}));
  CHECK(queue.packets() == 1 && queue.bytes() == 1);
}

void test_a_later_seal_takes_what_was_given_up() {
  HeldQueue queue(kUnlimited, kUnlimited);
  push(queue, 1);
  queue.seal(9);
  push(queue, 2);
  queue.seal(1);  // a new lineage counts from 1
  CHECK(leave(queue, 1) == (Values{1, 2}));
}

void test_bounds() {
  HeldQueue packets(kUnlimited, 4);
  for (uint8_t i = 0; i < 4; i++) {
    CHECK(!packets.full());
    push(packets, i);
    CHECK(packets.pressing() == (i >= 1));
  }
  CHECK(packets.full());
  HeldQueue bytes(2, kUnlimited);
  push(bytes, 0);
  CHECK(bytes.pressing() && !bytes.full());
  push(bytes, 1);
  CHECK(bytes.full());
  bytes.clear();
  CHECK(!bytes.pressing() && bytes.bytes() == 0 && bytes.oldest_ns() == 0);
}

}  // namespace

int main() {
  test_epochs_stay_apart();
  test_a_later_seal_takes_what_was_given_up();
  test_bounds();
  return 0;
}
