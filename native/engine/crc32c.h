/** CRC-32C (Castagnoli), as in iSCSI and ext4. */
#pragma once

#include <cstdint>
#include <span>

namespace romulus {

uint32_t crc32c(std::span<const uint8_t> data) noexcept;

/** The table-driven form, for processors without the instruction and for tests. */
uint32_t crc32c_portable(std::span<const uint8_t> data) noexcept;

}  // namespace romulus
