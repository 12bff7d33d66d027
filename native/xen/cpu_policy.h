/** What this host may offer a guest's processors, against what a guest of another host was told. */
#pragma once

#include <vector>

#include "domain.h"

namespace romulus::xen {

struct HostPolicy {
  /** The most that a PVH or HVM guest may be offered here, serialised. */
  std::vector<uint8_t> leaves;
  /** Whether Xen would take the guest's policy. */
  bool takes_guest = false;
};

HostPolicy host_policy_for(const PolicyBlobs& guest);

}  // namespace romulus::xen
