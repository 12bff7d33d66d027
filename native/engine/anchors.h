/** Windows of four words at places that content alone decides, so that equal content has its anchors at equal places wherever it lies. */
#pragma once

#include <cstddef>
#include <cstdint>

#include "digest.h"
#include "page.h"

namespace romulus {

inline constexpr uint64_t kWindowWords = 4;
/** A window is an anchor where these bits of its hash are zero: one in sixteen. */
inline constexpr uint64_t kAnchorMask = 15;
/** Kernels may store this many behind what they return. */
inline constexpr uint64_t kAnchorSlack = 8;

struct Anchors {
  /** Of each anchor its first word within the page, ascending, and its hash. */
  uint32_t words[kWordsPerPage + kAnchorSlack];
  uint64_t hashes[kWordsPerPage + kAnchorSlack];
  size_t count = 0;
};

/** So that small numbers, which most words are, differ in both halves that are multiplied. */
inline constexpr uint64_t kWindowKey = 0x9e3779b97f4a7c15u;
/** By how much each word's mix is turned, so that the order of words counts. */
inline constexpr int kWindowTurns[kWindowWords] = {0, 13, 29, 47};

inline uint64_t turn_left(uint64_t value, int bits) noexcept { return bits == 0 ? value : value << bits | value >> (64 - bits); }

/** The hash of four words, from their digest_mix(word ^ kWindowKey). */
inline uint64_t window_hash(const uint64_t* mixed) noexcept {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < kWindowWords; i++) sum += turn_left(mixed[i], kWindowTurns[i]);
  return sum ^ sum >> 32;
}

}  // namespace romulus
