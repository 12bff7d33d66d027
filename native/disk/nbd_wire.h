/** The NBD protocol's numbers and requests (github.com/NetworkBlockDevice/nbd, doc/proto.md): pure functions, no sockets. */
#pragma once

#include <cstdint>
#include <span>

namespace romulus::disk::nbd {

inline constexpr uint64_t kMagic = 0x4e42444d41474943;        // "NBDMAGIC"
inline constexpr uint64_t kOptionMagic = 0x49484156454f5054;  // "IHAVEOPT"
inline constexpr uint64_t kOptionReplyMagic = 0x3e889045565a9;
inline constexpr uint32_t kRequestMagic = 0x25609513;
inline constexpr uint32_t kSimpleReplyMagic = 0x67446698;

namespace handshake_flag {
inline constexpr uint16_t kFixedNewstyle = 1;
inline constexpr uint16_t kNoZeroes = 2;
}  // namespace handshake_flag

namespace option {
inline constexpr uint32_t kExportName = 1;
inline constexpr uint32_t kAbort = 2;
inline constexpr uint32_t kList = 3;
inline constexpr uint32_t kInfo = 6;
inline constexpr uint32_t kGo = 7;
}  // namespace option

namespace reply {
inline constexpr uint32_t kAck = 1;
inline constexpr uint32_t kServer = 2;
inline constexpr uint32_t kInfo = 3;
inline constexpr uint32_t kUnsupported = 0x80000001;
inline constexpr uint32_t kInvalid = 0x80000003;
inline constexpr uint32_t kUnknown = 0x80000006;
}  // namespace reply

namespace info {
inline constexpr uint16_t kExport = 0;
inline constexpr uint16_t kBlockSize = 3;
}  // namespace info

namespace export_flag {
inline constexpr uint16_t kHasFlags = 1;
inline constexpr uint16_t kSendFlush = 1 << 2;
inline constexpr uint16_t kSendFua = 1 << 3;
inline constexpr uint16_t kSendTrim = 1 << 5;
inline constexpr uint16_t kSendWriteZeroes = 1 << 6;
inline constexpr uint16_t kCanMultiConn = 1 << 8;
}  // namespace export_flag

enum class Command : uint16_t { kRead = 0, kWrite = 1, kDisconnect = 2, kFlush = 3, kTrim = 4, kCache = 5, kWriteZeroes = 6 };

namespace command_flag {
inline constexpr uint16_t kFua = 1;
inline constexpr uint16_t kNoHole = 2;
}  // namespace command_flag

namespace error {
inline constexpr uint32_t kPermission = 1;
inline constexpr uint32_t kIo = 5;
inline constexpr uint32_t kNoMemory = 12;
inline constexpr uint32_t kInvalid = 22;
inline constexpr uint32_t kNoSpace = 28;
inline constexpr uint32_t kNotSupported = 95;
}  // namespace error

/** Bytes one request may read or write: what the specification says every client may ask for. */
inline constexpr uint32_t kMaxRequestBytes = 32 * 1024 * 1024;
inline constexpr size_t kRequestBytes = 28;
inline constexpr size_t kReplyBytes = 16;
inline constexpr uint16_t kExportFlags = export_flag::kHasFlags | export_flag::kSendFlush | export_flag::kSendFua |
                                         export_flag::kSendTrim | export_flag::kSendWriteZeroes |
                                         export_flag::kCanMultiConn;

/** Big endian, as all of NBD. */
template <typename T>
T get(const uint8_t* at) noexcept {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); i++) value = static_cast<T>(static_cast<uint64_t>(value) << 8 | at[i]);
  return value;
}

template <typename T>
void put(uint8_t* at, T value) noexcept {
  for (size_t i = 0; i < sizeof(T); i++) at[i] = static_cast<uint8_t>(static_cast<uint64_t>(value) >> (8 * (sizeof(T) - 1 - i)));
}

struct Request {
  uint16_t flags = 0;
  Command command = Command::kRead;
  uint64_t cookie = 0;
  uint64_t offset = 0;
  uint32_t bytes = 0;

  bool has_data() const noexcept { return command == Command::kWrite; }
};

/** False if these bytes are no request: nothing that follows can be understood. */
bool parse_request(std::span<const uint8_t, kRequestBytes> from, Request& request) noexcept;

/** 0 if the request may be tried on a disk of that size, or the error to answer. */
uint32_t check_request(const Request& request, uint64_t disk_bytes) noexcept;

void put_reply(std::span<uint8_t, kReplyBytes> to, uint32_t error, uint64_t cookie) noexcept;

/** NBD's error for an errno. */
uint32_t error_of(int error) noexcept;

}  // namespace romulus::disk::nbd
