/** Listens on a unix socket and serves a disk to its NBD clients, on threads of its own. */
#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "nbd_connection.h"

namespace romulus::disk::nbd {

class Server {
 public:
  /** Clients at a time; more are hung up on. */
  static constexpr size_t kMaxConnections = 16;

  explicit Server(Disk& disk) : disk_(disk) {}
  ~Server() { end(); }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /** Replaces whatever lies at `path`: a killed predecessor's socket. `name`: the export's, besides none at all. */
  Status listen(const std::string& path, const std::string& name) noexcept;
  size_t connections() noexcept;
  /** Hangs up on everybody, once their requests under way are done, and removes the socket. */
  void end() noexcept;

 private:
  struct Client {
    std::unique_ptr<Connection> connection;
    std::thread thread;
    std::atomic<bool> done = false;
  };

  void accept_clients() noexcept;
  void reap() noexcept;

  Disk& disk_;
  std::string path_;
  std::string name_;
  int socket_ = -1;
  int stop_ = -1;
  std::thread thread_;
  std::mutex mutex_;
  std::list<Client> clients_;
};

}  // namespace romulus::disk::nbd
