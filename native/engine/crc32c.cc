/** By eight tables; with SSE4.2 three lanes at once, joined by "append so many zero bytes"; with VPCLMULQDQ by folding. */
#include "crc32c.h"

#include <array>

#include "bits.h"
#include "cpu.h"

#if defined(__x86_64__)
// GCC 12's own intrinsics read "undefined" registers on purpose and warn about it.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#endif

namespace romulus {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // bit-reversed

using Tables = std::array<std::array<uint32_t, 256>, 8>;

constexpr Tables make_tables() noexcept {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (size_t t = 1; t < 8; t++) {
    for (size_t byte = 0; byte < 256; byte++) {
      const uint32_t before = tables[t - 1][byte];
      tables[t][byte] = before >> 8 ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

uint32_t update_portable(uint32_t crc, const uint8_t* from, size_t bytes) noexcept {
  for (; bytes >= 8; from += 8, bytes -= 8) {
    const uint64_t eight = load_le<uint64_t>(from) ^ crc;
    crc = 0;
    for (size_t t = 0; t < 8; t++) crc ^= kTables[7 - t][eight >> (8 * t) & 0xff];
  }
  for (; bytes > 0; from++, bytes--) crc = crc >> 8 ^ kTables[0][(crc ^ *from) & 0xff];
  return crc;
}

#if defined(__x86_64__)

/** Bytes of each of the three lanes: their latencies overlap, and three fit the first-level cache. */
constexpr size_t kLaneBytes = 1024;

using ShiftTables = std::array<std::array<uint32_t, 256>, 4>;

/** What a CRC becomes when `bytes` zero bytes follow: linear, so one table per byte of it. */
constexpr ShiftTables make_shift(size_t bytes) noexcept {
  std::array<uint32_t, 32> images{};
  for (size_t bit = 0; bit < 32; bit++) {
    uint32_t crc = uint32_t{1} << bit;
    for (size_t i = 0; i < bytes; i++) crc = crc >> 8 ^ kTables[0][crc & 0xff];
    images[bit] = crc;
  }
  ShiftTables tables{};
  for (size_t t = 0; t < 4; t++) {
    for (uint32_t byte = 0; byte < 256; byte++) {
      for (size_t bit = 0; bit < 8; bit++) {
        if ((byte >> bit & 1) != 0) tables[t][byte] ^= images[8 * t + bit];
      }
    }
  }
  return tables;
}

constexpr ShiftTables kShift = make_shift(kLaneBytes);

inline uint64_t shift(uint64_t crc) noexcept {
  return kShift[0][crc & 0xff] ^ kShift[1][crc >> 8 & 0xff] ^ kShift[2][crc >> 16 & 0xff] ^ kShift[3][crc >> 24 & 0xff];
}

__attribute__((target("sse4.2"))) uint32_t update_sse42(uint32_t start, const uint8_t* from, size_t bytes) noexcept {
  uint64_t crc = start;
  for (; bytes >= 3 * kLaneBytes; from += 3 * kLaneBytes, bytes -= 3 * kLaneBytes) {
    uint64_t second = 0;
    uint64_t third = 0;
    for (size_t at = 0; at < kLaneBytes; at += 8) {
      crc = _mm_crc32_u64(crc, load_le<uint64_t>(from + at));
      second = _mm_crc32_u64(second, load_le<uint64_t>(from + kLaneBytes + at));
      third = _mm_crc32_u64(third, load_le<uint64_t>(from + 2 * kLaneBytes + at));
    }
    crc = shift(shift(crc) ^ second) ^ third;
  }
  for (; bytes >= 8; from += 8, bytes -= 8) crc = _mm_crc32_u64(crc, load_le<uint64_t>(from));
  for (; bytes > 0; from++, bytes--) crc = _mm_crc32_u8(static_cast<uint32_t>(crc), *from);
  return static_cast<uint32_t>(crc);
}

/** x^n modulo the polynomial, bit-reversed. */
constexpr uint64_t power_of_x(uint64_t n) noexcept {
  uint32_t value = uint32_t{1} << 31;
  for (; n > 0; n--) value = value >> 1 ^ ((value & 1) != 0 ? kPolynomial : 0);
  return value;
}

/** What the low and the high half of a 128-bit lane are multiplied by to stand `bits` further on. */
template <uint64_t bits>
inline constexpr uint64_t kFold[2] = {power_of_x(bits + 31), power_of_x(bits - 33)};

/** A load of at least this much is worth setting up wide registers. */
constexpr size_t kFoldBytes = 256;

#define ROMULUS_FOLD_TARGET __attribute__((target("avx512f,avx512vl,vpclmulqdq,pclmul,sse4.2")))

ROMULUS_FOLD_TARGET inline __m512i fold(__m512i lanes, __m512i by, __m512i next) noexcept {
  return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(lanes, by, 0x00), _mm512_clmulepi64_epi128(lanes, by, 0x11),
                                   next, 0x96);
}

ROMULUS_FOLD_TARGET inline __m512i fold_by(const uint64_t (&factors)[2]) noexcept {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(factors)));
}

/** Carry-less multiplication moves 256 bytes at a time onto the next 256; 16 bytes are left for the instruction. */
ROMULUS_FOLD_TARGET uint32_t update_folding(uint32_t start, const uint8_t* from, size_t bytes) noexcept {
  __m512i lanes[4];
  for (size_t i = 0; i < 4; i++) lanes[i] = _mm512_loadu_si512(from + 64 * i);
  lanes[0] = _mm512_xor_si512(lanes[0], _mm512_zextsi128_si512(_mm_cvtsi32_si128(static_cast<int>(start))));
  from += kFoldBytes;
  bytes -= kFoldBytes;
  const __m512i by2048 = fold_by(kFold<2048>);
  for (; bytes >= kFoldBytes; from += kFoldBytes, bytes -= kFoldBytes) {
    for (size_t i = 0; i < 4; i++) lanes[i] = fold(lanes[i], by2048, _mm512_loadu_si512(from + 64 * i));
  }
  const __m512i by512 = fold_by(kFold<512>);
  const __m512i all = fold(fold(fold(lanes[0], by512, lanes[1]), by512, lanes[2]), by512, lanes[3]);
  alignas(64) uint8_t rest[64];
  _mm512_store_si512(rest, all);
  return update_sse42(update_sse42(0, rest, sizeof rest), from, bytes);
}

#endif

/** Product of two polynomials modulo ours, bit-reversed. */
constexpr uint32_t multiply(uint32_t a, uint32_t b) noexcept {
  uint32_t product = 0;
  for (; a != 0; a <<= 1) {
    product ^= (a >> 31) != 0 ? b : 0;
    b = b >> 1 ^ ((b & 1) != 0 ? kPolynomial : 0);
  }
  return product;
}

/** x^(8 * 2^k) modulo the polynomial: what 2^k zero bytes multiply a CRC by. */
constexpr std::array<uint32_t, 32> zero_byte_powers() noexcept {
  std::array<uint32_t, 32> powers{};
  powers[0] = uint32_t{1} << (31 - 8);
  for (size_t k = 1; k < powers.size(); k++) powers[k] = multiply(powers[k - 1], powers[k - 1]);
  return powers;
}

constexpr std::array<uint32_t, 32> kZeroBytes = zero_byte_powers();

uint32_t update(uint32_t crc, std::span<const uint8_t> data) noexcept {
#if defined(__x86_64__)
  // Follows the kernels' level, so that every form can be tested on one machine.
  if (&kernels() == &kAvx512Kernels && cpu_features().vpclmul && data.size() >= kFoldBytes) {
    return update_folding(crc, data.data(), data.size());
  }
  if (&kernels() != &kPortableKernels && cpu_features().sse42) return update_sse42(crc, data.data(), data.size());
#endif
  return update_portable(crc, data.data(), data.size());
}

}  // namespace

uint32_t crc32c_portable(std::span<const uint8_t> data) noexcept {
  return ~update_portable(~uint32_t{0}, data.data(), data.size());
}

uint32_t crc32c(std::span<const uint8_t> data) noexcept { return ~update(~uint32_t{0}, data); }

uint32_t crc32c_append(uint32_t crc, std::span<const uint8_t> data) noexcept { return ~update(~crc, data); }

uint32_t crc32c_join(uint32_t first, uint32_t second, uint32_t second_bytes) noexcept {
  for (size_t k = 0; second_bytes != 0; k++, second_bytes >>= 1) {
    if ((second_bytes & 1) != 0) first = multiply(kZeroBytes[k], first);
  }
  return first ^ second;
}

}  // namespace romulus
