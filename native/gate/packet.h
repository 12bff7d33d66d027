/** One Ethernet frame, sent as it is from an interface of this host. */
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "../engine/status.h"

namespace romulus::gate {

/** ENODEV without such an interface, ENETDOWN while it is down, EPERM without CAP_NET_RAW. */
Status send_frame(const std::string& interface, std::span<const uint8_t> frame) noexcept;

}  // namespace romulus::gate
