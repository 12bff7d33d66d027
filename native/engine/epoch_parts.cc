/** Without copies this is no more than checking each payload. */
#include "epoch_parts.h"

#include <algorithm>
#include <cerrno>

#include "payload.h"

namespace romulus {
namespace {

constexpr Status kTooManyCopies = {EBADMSG, "an epoch has more than one copies payload"};

}  // namespace

Status read_epoch(Chunks chunks, uint64_t pages, EpochParts& parts) noexcept {
  parts = {};
  std::vector<std::span<const uint8_t>> payloads;
  for (const auto chunk : chunks) {
    if (Status status = split_chunk(chunk, payloads); !status.ok()) return status;
  }
  for (const auto payload : payloads) {
    if (is_copies(payload)) {
      if (!parts.runs.empty()) return kTooManyCopies;
      if (Status status = read_copies(payload, pages, parts.runs); !status.ok()) return status;
      parts.targets = target_pages(parts.runs);
      parts.pages += parts.targets.size();
      continue;
    }
    uint64_t named = 0;
    if (Status status = check_payload(payload, pages, named); !status.ok()) return status;
    parts.pages += named;
    parts.deltas.push_back(payload);
  }
  return {};
}

Status check_epoch(Chunks chunks) noexcept {
  std::vector<std::span<const uint8_t>> payloads;
  for (const auto chunk : chunks) {
    if (Status status = split_chunk(chunk, payloads); !status.ok()) return status;
  }
  return std::count_if(payloads.begin(), payloads.end(), is_copies) > 1 ? kTooManyCopies : Status{};
}

bool has_copies(Chunks chunks) noexcept {
  std::vector<std::span<const uint8_t>> payloads;
  for (const auto chunk : chunks) {
    if (!split_chunk(chunk, payloads).ok()) break;
  }
  return std::any_of(payloads.begin(), payloads.end(), is_copies);
}

}  // namespace romulus
