/** Fixed newstyle and NBD_OPT_EXPORT_NAME: the server is our own, and its refusal is the connection's end. */
#include "nbd_client.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "nbd_wire.h"

namespace romulus::disk::nbd {
namespace {

constexpr timeval kAnswerTimeout{10, 0};
constexpr size_t kGreetingBytes = 18;
constexpr size_t kOptionHeadBytes = 16;
constexpr size_t kExportBytes = 10;

Status receive(int socket, std::span<uint8_t> into) noexcept {
  const ssize_t got = recv(socket, into.data(), into.size(), MSG_WAITALL);
  if (got == static_cast<ssize_t>(into.size())) return {};
  if (got < 0) return {errno == EAGAIN ? ETIMEDOUT : errno, "the NBD server does not answer"};
  return {EPROTO, "the NBD server has hung up"};
}

Status shake_hands(int socket, const std::string& name, Export& found) noexcept {
  uint8_t greeting[kGreetingBytes];
  if (const Status status = receive(socket, greeting); !status.ok()) return status;
  constexpr uint16_t kFlags = handshake_flag::kFixedNewstyle | handshake_flag::kNoZeroes;
  const bool ours = get<uint64_t>(greeting) == kMagic && get<uint64_t>(greeting + 8) == kOptionMagic;
  if (!ours || (get<uint16_t>(greeting + 16) & kFlags) != kFlags) return {EPROTO, "this is no NBD server of ours"};
  std::vector<uint8_t> wish(4 + kOptionHeadBytes + name.size());
  put<uint32_t>(wish.data(), kFlags);
  put<uint64_t>(wish.data() + 4, kOptionMagic);
  put<uint32_t>(wish.data() + 12, option::kExportName);
  put<uint32_t>(wish.data() + 16, static_cast<uint32_t>(name.size()));
  std::memcpy(wish.data() + 4 + kOptionHeadBytes, name.data(), name.size());
  if (send(socket, wish.data(), wish.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(wish.size()))
    return {errno, "cannot speak to the NBD server"};
  uint8_t answer[kExportBytes];
  if (const Status status = receive(socket, answer); !status.ok()) return status;
  found.disk_bytes = get<uint64_t>(answer);
  found.flags = get<uint16_t>(answer + 8);
  return {};
}

}  // namespace

Status connect(const std::string& socket_path, const std::string& name, Export& found) noexcept {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof to.sun_path) return {ENAMETOOLONG, "the path of the NBD socket is too long"};
  std::memcpy(to.sun_path, socket_path.data(), socket_path.size());
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return {errno, "cannot open a socket"};
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &kAnswerTimeout, sizeof kAnswerTimeout);
  Status status;
  if (::connect(socket, reinterpret_cast<sockaddr*>(&to), sizeof to) < 0) {
    status = {errno, "cannot connect to the NBD socket"};
  } else {
    status = shake_hands(socket, name, found);
  }
  // The kernel's client waits for as long as it takes.
  constexpr timeval kNever{0, 0};
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &kNever, sizeof kNever);
  if (status.ok()) {
    found.fd = socket;
  } else {
    close(socket);
  }
  return status;
}

}  // namespace romulus::disk::nbd
