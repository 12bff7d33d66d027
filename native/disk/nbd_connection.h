/**
 * One NBD client. Several threads serve it in turns: one waits for the next request while the others carry theirs out, so
 * that a slow read or a flush holds up nobody, and a lone request changes no thread between its arrival and its answer.
 */
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "disk.h"
#include "nbd_wire.h"

namespace romulus::disk::nbd {

class Connection {
 public:
  /** Takes over the socket, which closes with it. */
  Connection(int socket, Disk& disk, std::string name) : socket_(socket), disk_(disk), name_(std::move(name)) {}
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /** Serves the client until either side ends it. */
  void run();
  /** Ends it from another thread: run() returns once the requests under way are done. */
  void shut() noexcept;

 private:
  bool shake_hands();
  void serve();
  bool next_request(Request& request, std::vector<uint8_t>& data) noexcept;
  uint32_t carry_out(const Request& request, std::vector<uint8_t>& data, bool& has_answer) noexcept;
  bool answer(const Request& request, uint32_t error, std::span<const uint8_t> data) noexcept;
  bool receive(std::span<uint8_t> to) noexcept;
  bool send_all(std::span<const uint8_t> head, std::span<const uint8_t> data) noexcept;

  const int socket_;
  Disk& disk_;
  const std::string name_;
  std::mutex reading_;
  std::mutex writing_;
  std::atomic<bool> ended_ = false;
};

}  // namespace romulus::disk::nbd
