/** By ioctl: no `ip` to run and nothing to parse. */
#include "tap.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace romulus::gate {
namespace {

ifreq request_for(const std::string& name) noexcept {
  ifreq request{};
  std::memcpy(request.ifr_name, name.data(), name.size());
  return request;
}

Status set_up(int socket, const std::string& name) noexcept {
  ifreq request = request_for(name);
  if (ioctl(socket, SIOCGIFFLAGS, &request) < 0) return {errno, "cannot read the flags of the tap"};
  if (request.ifr_flags & IFF_UP) return {};
  request.ifr_flags |= IFF_UP;
  if (ioctl(socket, SIOCSIFFLAGS, &request) < 0) return {errno, "cannot set the tap up"};
  return {};
}

Status join(int socket, const std::string& name, const std::string& bridge) noexcept {
  ifreq tap = request_for(name);
  if (ioctl(socket, SIOCGIFINDEX, &tap) < 0) return {errno, "cannot find the tap"};
  ifreq request = request_for(bridge);
  request.ifr_ifindex = tap.ifr_ifindex;
  // EBUSY: it is a port of a bridge already, as when an operator or a predecessor joined it.
  if (ioctl(socket, SIOCBRADDIF, &request) < 0 && errno != EBUSY) return {errno, "cannot join the tap to its bridge"};
  return {};
}

}  // namespace

Status open_tap(const std::string& name, const std::string& bridge, int& fd) noexcept {
  if (name.empty() || name.size() >= IFNAMSIZ || bridge.size() >= IFNAMSIZ) return {EINVAL, "not the name of an interface"};
  const int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (tap < 0) return {errno, "cannot open /dev/net/tun"};
  ifreq request = request_for(name);
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  if (ioctl(tap, TUNSETIFF, &request) < 0) {
    const int error = errno;
    close(tap);
    return {error, "cannot open the tap"};
  }
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  Status status = socket < 0 ? Status{errno, "cannot open a socket"} : set_up(socket, name);
  if (status.ok() && !bridge.empty()) status = join(socket, name, bridge);
  if (socket >= 0) close(socket);
  if (!status.ok()) {
    close(tap);
    return status;
  }
  fd = tap;
  return {};
}

}  // namespace romulus::gate
