/** A tap device of this host, opened for frames. */
#pragma once

#include <string>

#include "../engine/status.h"

namespace romulus::gate {

/**
 * Opens the tap `name`, makes it if it is not there (it then goes with its last user), sets it up, and joins it to
 * `bridge` unless that is empty. `fd` is non-blocking. EPERM without CAP_NET_ADMIN, EBUSY if somebody else has it open,
 * ENODEV if there is no such bridge.
 */
Status open_tap(const std::string& name, const std::string& bridge, int& fd) noexcept;

}  // namespace romulus::gate
