/** The XBZRLE yardstick is sound: both forms write the same bytes, which lead from the old page to the new one. */
#include "../bench/xbzrle.h"

#include <cstring>
#include <vector>

#include "check.h"
#include "random.h"

using namespace romulus::bench;
using romulus::test::Random;

int main() {
  Random random(5);
  std::vector<uint8_t> before(4096), after(4096), scalar(8192), simd(8192);
  for (int i = 0; i < 5000; i++) {
    for (uint8_t& byte : before) byte = static_cast<uint8_t>(random.below(4));
    after = before;
    for (uint64_t stores = random.below(60); stores > 0; stores--) {
      const uint64_t at = random.below(4096);
      const uint64_t length = 1 + random.below(random.below(5) == 0 ? 4096 - at : 9);
      for (uint64_t b = at; b < at + length && b < 4096; b++) after[b] = static_cast<uint8_t>(random.below(256));
    }
    const uint64_t bytes = xbzrle_encode_scalar(before.data(), after.data(), scalar.data());
    CHECK(xbzrle_encode_simd(before.data(), after.data(), simd.data()) == bytes);
    if (bytes == kXbzrleMost) continue;
    CHECK(std::memcmp(scalar.data(), simd.data(), bytes) == 0);
    std::vector<uint8_t> image = before;
    CHECK(xbzrle_decode({scalar.data(), bytes}, image.data()) && image == after);
    if (bytes > 0) (void)xbzrle_decode({scalar.data(), bytes - 1}, image.data());
  }
}
