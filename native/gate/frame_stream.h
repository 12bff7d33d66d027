/** QEMU's stream netdev framing, both ways: four bytes of length, big endian, before each Ethernet frame. */
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace romulus::gate {

/** QEMU's NET_BUFSIZE: no frame it sends or takes is longer. */
inline constexpr uint32_t kMaxFrameBytes = 4096 + 65536;
inline constexpr uint32_t kLengthBytes = 4;

/** Takes bytes as they come and gives whole frames. */
class FrameReader {
 public:
  FrameReader() : buffer_(4 * kMaxFrameBytes) {}

  /** Room for the next read; never empty once next() said there is no whole frame. */
  std::span<uint8_t> room() noexcept {
    if (begin_ > 0) {
      std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    return {buffer_.data() + end_, buffer_.size() - end_};
  }

  void filled(size_t bytes) noexcept { end_ += bytes; }

  enum class Outcome { kFrame, kMore, kMalformed };

  /** `frame` is valid until the next call of room(). */
  Outcome next(std::span<const uint8_t>& frame) noexcept {
    if (end_ - begin_ < kLengthBytes) return Outcome::kMore;
    const uint8_t* at = buffer_.data() + begin_;
    const uint32_t bytes = uint32_t{at[0]} << 24 | uint32_t{at[1]} << 16 | uint32_t{at[2]} << 8 | at[3];
    if (bytes == 0 || bytes > kMaxFrameBytes) return Outcome::kMalformed;
    if (end_ - begin_ < kLengthBytes + bytes) return Outcome::kMore;
    frame = {at + kLengthBytes, bytes};
    begin_ += kLengthBytes + bytes;
    return Outcome::kFrame;
  }

  void reset() noexcept { begin_ = end_ = 0; }

 private:
  std::vector<uint8_t> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

/** One frame on its way into QEMU, which may take it in parts. */
class FrameWriter {
 public:
  FrameWriter() : buffer_(kLengthBytes + kMaxFrameBytes) {}

  /** Where the next frame goes, once pending() is empty. */
  std::span<uint8_t> room() noexcept { return {buffer_.data() + kLengthBytes, kMaxFrameBytes}; }

  void put(uint32_t bytes) noexcept {
    for (int i = 0; i < 4; i++) buffer_[i] = static_cast<uint8_t>(bytes >> (24 - 8 * i));
    begin_ = 0;
    end_ = kLengthBytes + bytes;
  }

  std::span<const uint8_t> pending() const noexcept { return {buffer_.data() + begin_, end_ - begin_}; }
  void sent(size_t bytes) noexcept { begin_ += bytes; }
  void reset() noexcept { begin_ = end_ = 0; }

 private:
  std::vector<uint8_t> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace romulus::gate
