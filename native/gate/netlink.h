/** One request to the kernel over netlink, and its first answer. The messages are made and read by shared/net/. */
#pragma once

#include <cstdint>
#include <span>

#include "../engine/status.h"

namespace romulus::gate {

/** Answers to the requests made here are short: an acknowledgement, or one queueing discipline. */
inline constexpr size_t kAnswerBytes = 8192;

/**
 * Sends `request` to a protocol of netlink (NETLINK_ROUTE, NETLINK_GENERIC) unless boot_ns() has reached `until_ns` (ETIME then: a permit that ran out), and reads one answer into
 * `answer` (kAnswerBytes), whose length it sets.
 */
Status netlink_request(int protocol, std::span<const uint8_t> request, uint64_t until_ns, std::span<uint8_t> answer,
                       size_t& answer_bytes) noexcept;

}  // namespace romulus::gate
