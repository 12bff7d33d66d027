/** One thread accepts; each client has its own. Ended clients are joined when the next comes, or at the end. */
#include "nbd_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace romulus::disk::nbd {

Status Server::listen(const std::string& path, const std::string& name) noexcept {
  sockaddr_un address{};
  if (path.size() >= sizeof address.sun_path) return {ENAMETOOLONG, "too long a path for a unix socket"};
  if (thread_.joinable()) return {EBUSY, "the disk is served already"};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  unlink(path.c_str());
  socket_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  stop_ = eventfd(0, EFD_CLOEXEC);
  // Restricted before anybody can connect: bind() makes the file with the mode of the socket, less the umask.
  if (socket_ < 0 || stop_ < 0 || fchmod(socket_, 0600) < 0 ||
      bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0 || ::listen(socket_, kMaxConnections) < 0) {
    const int error = errno;
    end();
    return {error, "cannot listen on the disk's socket"};
  }
  path_ = path;
  name_ = name;
  thread_ = std::thread([this] { accept_clients(); });
  return {};
}

void Server::accept_clients() noexcept {
  for (;;) {
    pollfd waiting[2] = {{socket_, POLLIN, 0}, {stop_, POLLIN, 0}};
    if (poll(waiting, 2, -1) < 0 && errno != EINTR) return;
    if (waiting[1].revents != 0) return;
    if (waiting[0].revents == 0) continue;
    const int client = accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) continue;
    const std::lock_guard lock(mutex_);
    reap();
    if (clients_.size() >= kMaxConnections) {
      close(client);
      continue;
    }
    Client& added = clients_.emplace_back();
    added.connection = std::make_unique<Connection>(client, disk_, name_);
    added.thread = std::thread([&added] {
      added.connection->run();
      added.done = true;
    });
  }
}

void Server::reap() noexcept {
  for (auto client = clients_.begin(); client != clients_.end();) {
    if (!client->done) {
      ++client;
      continue;
    }
    client->thread.join();
    client = clients_.erase(client);
  }
}

size_t Server::connections() noexcept {
  const std::lock_guard lock(mutex_);
  reap();
  return clients_.size();
}

void Server::end() noexcept {
  if (thread_.joinable()) {
    const uint64_t one = 1;
    // An eventfd that was never written takes a one.
    if (write(stop_, &one, sizeof one) == sizeof one) thread_.join();
    unlink(path_.c_str());
  }
  const std::lock_guard lock(mutex_);
  for (Client& client : clients_) client.connection->shut();
  for (Client& client : clients_) client.thread.join();
  clients_.clear();
  for (int* fd : {&socket_, &stop_}) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
  }
}

}  // namespace romulus::disk::nbd
