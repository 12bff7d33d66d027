/** Fixed newstyle alone; options beyond those a disk needs are answered as unsupported, which clients live with. */
#include "nbd_handshake.h"

#include <cstring>

#include "nbd_wire.h"

namespace romulus::disk::nbd {
namespace {

constexpr size_t kOptionHeadBytes = 16;
constexpr size_t kNameZeroes = 124;

template <typename T>
void append(std::vector<uint8_t>& out, T value) {
  out.resize(out.size() + sizeof(T));
  put<T>(out.data() + out.size() - sizeof(T), value);
}

}  // namespace

void Handshake::greet(std::vector<uint8_t>& out) {
  append(out, kMagic);
  append(out, kOptionMagic);
  append<uint16_t>(out, handshake_flag::kFixedNewstyle | handshake_flag::kNoZeroes);
}

size_t Handshake::needs() const noexcept {
  switch (state_) {
    case State::kFlags: return 4;
    case State::kOption: return in_data_ ? length_ : kOptionHeadBytes;
    default: return 0;
  }
}

void Handshake::consume(std::span<const uint8_t> in, std::vector<uint8_t>& out) {
  if (in.size() != needs()) {
    state_ = State::kEnded;
  } else if (state_ == State::kFlags) {
    const auto flags = get<uint32_t>(in.data());
    const uint32_t known = handshake_flag::kFixedNewstyle | handshake_flag::kNoZeroes;
    no_zeroes_ = (flags & handshake_flag::kNoZeroes) != 0;
    state_ = (flags & ~known) == 0 && (flags & handshake_flag::kFixedNewstyle) != 0 ? State::kOption : State::kEnded;
  } else if (state_ == State::kOption && in_data_) {
    in_data_ = false;
    take_option(in, out);
  } else if (state_ == State::kOption) {
    option_ = get<uint32_t>(in.data() + 8);
    length_ = get<uint32_t>(in.data() + 12);
    if (get<uint64_t>(in.data()) != kOptionMagic || length_ > kMaxOptionBytes || ++options_ > kMaxOptions) {
      state_ = State::kEnded;
    } else if (length_ == 0) {
      take_option({}, out);
    } else {
      in_data_ = true;
    }
  }
}

bool Handshake::known(std::span<const uint8_t> name) const noexcept {
  return name.empty() || (name.size() == name_.size() && std::memcmp(name.data(), name_.data(), name.size()) == 0);
}

void Handshake::take_option(std::span<const uint8_t> data, std::vector<uint8_t>& out) {
  switch (option_) {
    case option::kExportName:
      // The one option without a way to say no.
      if (!known(data)) {
        state_ = State::kEnded;
        return;
      }
      append(out, disk_bytes_);
      append(out, export_flags_);
      if (!no_zeroes_) out.resize(out.size() + kNameZeroes);
      state_ = State::kTransmission;
      return;
    case option::kAbort:
      reply(out, reply::kAck);
      state_ = State::kEnded;
      return;
    case option::kList: {
      if (!data.empty()) return reply(out, reply::kInvalid);
      std::vector<uint8_t> server;
      append(server, static_cast<uint32_t>(name_.size()));
      server.insert(server.end(), name_.begin(), name_.end());
      reply(out, reply::kServer, server);
      return reply(out, reply::kAck);
    }
    case option::kInfo:
    case option::kGo:
      return answer_info(data, out);
    default:
      return reply(out, reply::kUnsupported);
  }
}

void Handshake::answer_info(std::span<const uint8_t> data, std::vector<uint8_t>& out) {
  if (data.size() < 6) return reply(out, reply::kInvalid);
  const auto name_bytes = get<uint32_t>(data.data());
  if (name_bytes > data.size() - 6) return reply(out, reply::kInvalid);
  const auto wishes = get<uint16_t>(data.data() + 4 + name_bytes);
  if (data.size() != 6 + size_t{name_bytes} + size_t{wishes} * 2) return reply(out, reply::kInvalid);
  if (!known(data.subspan(4, name_bytes))) return reply(out, reply::kUnknown);
  std::vector<uint8_t> size;
  append(size, info::kExport);
  append(size, disk_bytes_);
  append(size, export_flags_);
  reply(out, reply::kInfo, size);
  std::vector<uint8_t> blocks;
  append(blocks, info::kBlockSize);
  append<uint32_t>(blocks, 1);
  append<uint32_t>(blocks, 4096);
  append<uint32_t>(blocks, kMaxRequestBytes);
  reply(out, reply::kInfo, blocks);
  reply(out, reply::kAck);
  if (option_ == option::kGo) state_ = State::kTransmission;
}

void Handshake::reply(std::vector<uint8_t>& out, uint32_t type, std::span<const uint8_t> data) const {
  append(out, kOptionReplyMagic);
  append(out, option_);
  append(out, type);
  append(out, static_cast<uint32_t>(data.size()));
  out.insert(out.end(), data.begin(), data.end());
}

}  // namespace romulus::disk::nbd
