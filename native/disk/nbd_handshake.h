/** The haggling over options before an NBD client may read and write: bytes in, bytes out, no sockets. */
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace romulus::disk::nbd {

/** Data of one option, at most; a client that sends more is not one. */
inline constexpr uint32_t kMaxOptionBytes = 8192;
/** Options of one client, at most. */
inline constexpr unsigned kMaxOptions = 64;

class Handshake {
 public:
  enum class State { kFlags, kOption, kTransmission, kEnded };

  /** Serves one export, by this name or by none. */
  Handshake(std::string name, uint64_t disk_bytes, uint16_t export_flags)
      : name_(std::move(name)), disk_bytes_(disk_bytes), export_flags_(export_flags) {}

  /** What the server says first. */
  static void greet(std::vector<uint8_t>& out);
  /** Bytes the next step takes: read exactly so many before consume(). */
  size_t needs() const noexcept;
  /** Takes exactly needs() bytes and appends what to answer. */
  void consume(std::span<const uint8_t> in, std::vector<uint8_t>& out);
  State state() const noexcept { return state_; }

 private:
  void take_option(std::span<const uint8_t> data, std::vector<uint8_t>& out);
  void answer_info(std::span<const uint8_t> data, std::vector<uint8_t>& out);
  void reply(std::vector<uint8_t>& out, uint32_t type, std::span<const uint8_t> data = {}) const;
  bool known(std::span<const uint8_t> name) const noexcept;

  const std::string name_;
  const uint64_t disk_bytes_;
  const uint16_t export_flags_;
  State state_ = State::kFlags;
  bool no_zeroes_ = false;
  /** Of the option whose head has come: its number and the length of its data. */
  bool in_data_ = false;
  uint32_t option_ = 0;
  uint32_t length_ = 0;
  unsigned options_ = 0;
};

}  // namespace romulus::disk::nbd
