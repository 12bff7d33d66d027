/** A packet socket for each frame: they are sent when a guest moves, and no interface is held meanwhile. */
#include "packet.h"

#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace romulus::gate {

Status send_frame(const std::string& interface, std::span<const uint8_t> frame) noexcept {
  const unsigned index = if_nametoindex(interface.c_str());
  if (index == 0) return {ENODEV, "there is no such interface"};
  // Protocol 0: it hears nothing.
  const int socket = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (socket < 0) return {errno, "cannot open a packet socket"};
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(index);
  const ssize_t sent = sendto(socket, frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&to), sizeof to);
  const Status status = sent < 0 ? Status{errno, "cannot send a frame"} : Status{};
  close(socket);
  return status;
}

}  // namespace romulus::gate
