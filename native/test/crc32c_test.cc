/** CRC-32C: the check value of RFC 3720, and both forms alike at every length. */
#include "../engine/crc32c.h"

#include <cstring>
#include <vector>

#include "check.h"
#include "random.h"

int main() {
  const char* digits = "123456789";
  CHECK(romulus::crc32c({reinterpret_cast<const uint8_t*>(digits), 9}) == 0xe3069283);
  CHECK(romulus::crc32c({}) == 0);
  romulus::test::Random random(2);
  std::vector<uint8_t> data(40'000);
  for (uint8_t& byte : data) byte = static_cast<uint8_t>(random.next());
  for (size_t length = 0; length < data.size(); length += 1 + length / 16) {
    const std::span<const uint8_t> part(data.data() + length % 9, length - length / 9);
    if (length % 9 + part.size() > data.size()) break;
    CHECK(romulus::crc32c(part) == romulus::crc32c_portable(part));
    const size_t half = part.size() / 3;
    const uint32_t first = romulus::crc32c(part.first(half));
    const auto rest = part.subspan(half);
    CHECK(romulus::crc32c_append(first, rest) == romulus::crc32c(part));
    CHECK(romulus::crc32c_join(first, romulus::crc32c(rest), static_cast<uint32_t>(rest.size())) == romulus::crc32c(part));
  }
}
