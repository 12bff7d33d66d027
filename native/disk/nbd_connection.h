/**
 * One NBD client. Several threads serve it, of which one has the turn: it takes requests as they come and carries the quick
 * ones out itself, so that they cost no change of threads and their answers leave together. With a slow one (a flush, a
 * read that must wait for storage) it passes the turn on first, so that nobody waits behind it.
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
  bool take(std::span<uint8_t> to) noexcept;
  bool carry_out_quickly(const Request& request, std::span<const uint8_t> data) noexcept;
  uint32_t carry_out(const Request& request, std::vector<uint8_t>& data, bool& has_answer) noexcept;
  bool answer(const Request& request, uint32_t error, std::span<const uint8_t> data) noexcept;
  bool send_answers() noexcept;
  bool receive(std::span<uint8_t> to) noexcept;
  bool send_all(std::span<const uint8_t> head, std::span<const uint8_t> data) noexcept;

  const int socket_;
  Disk& disk_;
  const std::string name_;
  /** The turn, and with it what came and is not looked at yet, and answers that have not left. */
  std::mutex reading_;
  std::vector<uint8_t> in_;
  size_t in_begin_ = 0;
  size_t in_end_ = 0;
  std::vector<uint8_t> answers_;
  std::mutex writing_;
  std::atomic<bool> ended_ = false;
};

}  // namespace romulus::disk::nbd
