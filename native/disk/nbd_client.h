/** Our end of a connection that the kernel's NBD client takes over: made up to the point where requests begin. */
#pragma once

#include <cstdint>
#include <string>

#include "../engine/status.h"

namespace romulus::disk::nbd {

struct Export {
  /** Of the connected socket; whoever gets it closes it. */
  int fd = -1;
  uint64_t disk_bytes = 0;
  uint16_t flags = 0;
};

/** Connects to the server at a unix socket and asks for an export. EPROTO when that is no such server, ETIMEDOUT when it is silent. */
Status connect(const std::string& socket_path, const std::string& name, Export& found) noexcept;

}  // namespace romulus::disk::nbd
