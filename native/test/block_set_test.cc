/** BlockSet against a plain vector of flags. */
#include "../disk/block_set.h"

#include <vector>

#include "check.h"
#include "random.h"

using romulus::disk::BlockSet;
using romulus::disk::Run;
using romulus::test::Random;

namespace {

Run slow_next(const std::vector<bool>& flags, uint64_t from, uint64_t end, bool state) {
  while (from < end && flags[from] != state) from++;
  uint64_t stop = from;
  while (stop < end && flags[stop] == state) stop++;
  return {from, stop - from};
}

void random_changes() {
  Random random(7);
  for (uint64_t blocks : {uint64_t{1}, uint64_t{63}, uint64_t{64}, uint64_t{65}, uint64_t{4096}, uint64_t{300'001}}) {
    BlockSet set;
    CHECK(set.create(blocks).ok());
    std::vector<bool> flags(blocks);
    for (int round = 0; round < 200; round++) {
      const uint64_t first = random.next() % blocks;
      const Run run{first, 1 + random.next() % std::min<uint64_t>(blocks - first, 1 + random.next() % 5000)};
      const bool value = random.next() % 3 != 0;
      if (value) set.set(run);
      else set.clear(run);
      uint64_t count = 0;
      for (uint64_t i = run.first; i < run.end(); i++) flags[i] = value;
      for (const bool flag : flags) count += flag;
      CHECK(set.count() == count);
      const uint64_t from = random.next() % blocks;
      const uint64_t end = from + random.next() % (blocks - from) + 1;
      for (const bool state : {true, false}) {
        const Run expected = slow_next(flags, from, end, state);
        const Run found = set.next(from, end, state);
        CHECK(found.count == expected.count);
        CHECK(found.count == 0 || found.first == expected.first);
      }
    }
    set.clear_all();
    CHECK(set.count() == 0 && set.next(0, blocks).count == 0);
  }
}

void ranges() {
  using namespace romulus::disk;
  CHECK(blocks_touched(4095, 2).first == 0 && blocks_touched(4095, 2).count == 2);
  CHECK(blocks_touched(4096, 0).count == 0);
  CHECK(blocks_within(1, 8192, 1 << 20).first == 1 && blocks_within(1, 8192, 1 << 20).count == 1);
  CHECK(blocks_within(1, 4096, 1 << 20).count == 0);
  CHECK(blocks_within(4096, 512, 4608).first == 1 && blocks_within(4096, 512, 4608).count == 1);
}

}  // namespace

int main() {
  random_changes();
  ranges();
}
