/** CRC-32C (Castagnoli), as in iSCSI and ext4. */
#pragma once

#include <cstdint>
#include <span>

namespace romulus {

uint32_t crc32c(std::span<const uint8_t> data) noexcept;

/** The checksum of what `crc` is the checksum of, and `data` behind it. */
uint32_t crc32c_append(uint32_t crc, std::span<const uint8_t> data) noexcept;

/** The same when the checksum of the second part, and its length, are all that is known of it. */
uint32_t crc32c_join(uint32_t first, uint32_t second, uint32_t second_bytes) noexcept;

/** The table-driven form, for processors without the instruction and for tests. */
uint32_t crc32c_portable(std::span<const uint8_t> data) noexcept;

}  // namespace romulus
