/** Ranges are compared with what is left of the disk, never added up. */
#include "nbd_wire.h"

#include <cerrno>

namespace romulus::disk::nbd {

bool parse_request(std::span<const uint8_t, kRequestBytes> from, Request& request) noexcept {
  if (get<uint32_t>(from.data()) != kRequestMagic) return false;
  request.flags = get<uint16_t>(from.data() + 4);
  request.command = static_cast<Command>(get<uint16_t>(from.data() + 6));
  request.cookie = get<uint64_t>(from.data() + 8);
  request.offset = get<uint64_t>(from.data() + 16);
  request.bytes = get<uint32_t>(from.data() + 24);
  // The data of an oversized write cannot be skipped in good faith: the connection ends.
  return !(request.has_data() && request.bytes > kMaxRequestBytes);
}

uint32_t check_request(const Request& request, uint64_t disk_bytes) noexcept {
  const bool in_range = request.offset <= disk_bytes && request.bytes <= disk_bytes - request.offset;
  uint16_t allowed = command_flag::kFua;
  switch (request.command) {
    case Command::kFlush:
      if (request.offset != 0 || request.bytes != 0) return error::kInvalid;
      return (request.flags & ~allowed) == 0 ? 0 : error::kInvalid;
    case Command::kRead:
      if (request.bytes > kMaxRequestBytes) return error::kInvalid;
      break;
    case Command::kWriteZeroes:
      allowed |= command_flag::kNoHole;
      break;
    case Command::kWrite:
    case Command::kTrim:
      break;
    default:
      return error::kInvalid;
  }
  if ((request.flags & ~allowed) != 0 || request.bytes == 0) return error::kInvalid;
  if (in_range) return 0;
  return request.command == Command::kRead || request.command == Command::kTrim ? error::kInvalid : error::kNoSpace;
}

void put_reply(std::span<uint8_t, kReplyBytes> to, uint32_t error, uint64_t cookie) noexcept {
  put<uint32_t>(to.data(), kSimpleReplyMagic);
  put<uint32_t>(to.data() + 4, error);
  put<uint64_t>(to.data() + 8, cookie);
}

uint32_t error_of(int error) noexcept {
  switch (error) {
    case 0: return 0;
    case EPERM:
    case EROFS: return error::kPermission;
    case ENOMEM: return error::kNoMemory;
    case EINVAL: return error::kInvalid;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return error::kNoSpace;
    case EOPNOTSUPP: return error::kNotSupported;
    default: return error::kIo;
  }
}

}  // namespace romulus::disk::nbd
