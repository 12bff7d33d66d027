/** A socket per request: they are few, and a socket that lives on would have to be told apart from its past answers. */
#include "netlink.h"

#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>

#include "relay.h"

namespace romulus::gate {
namespace {

/** The kernel answers within the call that sends; this is for a kernel that never does. */
constexpr timeval kAnswerTimeout{1, 0};

}  // namespace

Status netlink_request(int protocol, std::span<const uint8_t> request, uint64_t until_ns, std::span<uint8_t> answer,
                       size_t& answer_bytes) noexcept {
  const int socket = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (socket < 0) return {errno, "cannot open a netlink socket"};
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &kAnswerTimeout, sizeof kAnswerTimeout);
  Status status;
  if (boot_ns() >= until_ns) {
    status = {ETIME, "the permit has run out"};
  } else if (send(socket, request.data(), request.size(), 0) != static_cast<ssize_t>(request.size())) {
    status = {errno, "cannot send to netlink"};
  } else if (const ssize_t got = recv(socket, answer.data(), answer.size(), 0); got < 0) {
    status = {errno, "netlink gave no answer"};
  } else {
    answer_bytes = static_cast<size_t>(got);
  }
  close(socket);
  return status;
}

}  // namespace romulus::gate
