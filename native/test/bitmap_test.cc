/** Bitmap operations against a plain vector of booleans. */
#include "../engine/bitmap.h"

#include <vector>

#include "check.h"
#include "random.h"

using romulus::Bitmap;
using romulus::test::Random;

namespace {

void agrees_with_model(Random& random) {
  const uint64_t pages = 1 + random.below(700);
  Bitmap bitmap;
  CHECK(bitmap.create(pages).ok());
  std::vector<bool> model(pages);
  for (int i = 0; i < 20; i++) {
    const uint64_t first = random.below(pages);
    const uint64_t count = 1 + random.below(random.below(2) == 0 ? 3 : pages - first);
    if (first + count > pages) continue;
    bitmap.set(first, count);
    for (uint64_t p = first; p < first + count; p++) model[p] = true;
    if (random.below(3) != 0) continue;
    const uint64_t kept = random.below(count + 1);
    bitmap.clear(first + kept, count - kept);
    for (uint64_t p = first + kept; p < first + count; p++) model[p] = false;
  }
  std::vector<double> expected;
  uint64_t total = 0;
  for (uint64_t p = 0; p < pages; p++) {
    CHECK(bitmap.test(p) == model[p]);
    if (!model[p]) continue;
    total++;
    if (p == 0 || !model[p - 1]) {
      expected.push_back(static_cast<double>(p));
      expected.push_back(0);
    }
    expected.back()++;
  }
  CHECK(bitmap.count() == total);
  CHECK(bitmap.count_runs() * 2 == expected.size());
  std::vector<double> runs(expected.size());
  bitmap.write_runs(runs);
  CHECK(runs == expected);
}

void load_drops_bits_beyond_the_last_page() {
  Bitmap bitmap;
  CHECK(bitmap.create(70).ok());
  const std::vector<uint8_t> ones(16, 0xff);
  bitmap.load(ones);
  CHECK(bitmap.count() == 70);
  bitmap.clear();
  CHECK(bitmap.count() == 0 && bitmap.count_runs() == 0);
}

void sizes_out_of_range_are_refused() {
  Bitmap bitmap;
  CHECK(!bitmap.create(0).ok());
  CHECK(!bitmap.create(romulus::kMaxPages + 1).ok());
}

}  // namespace

int main() {
  Random random(1);
  for (int i = 0; i < 3000; i++) agrees_with_model(random);
  load_drops_bits_beyond_the_last_page();
  sizes_out_of_range_are_refused();
}
