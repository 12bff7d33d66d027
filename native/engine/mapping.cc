/** Opening, reserving and mapping, with every failure as an errno and nothing left behind. */
#include "mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "page.h"

namespace romulus {
namespace {

/** Brings the file to at least `bytes`, with blocks behind them if asked. */
Status grow(int fd, uint64_t bytes, const Mapping::Options& options) noexcept {
  struct stat info;
  if (fstat(fd, &info) != 0) return {errno, "fstat failed"};
  const bool is_short = S_ISREG(info.st_mode) && static_cast<uint64_t>(info.st_size) < bytes;
  if (is_short && !options.create) return {EINVAL, "file is shorter than the range to map"};
  if (options.reserve) {
    const int error = posix_fallocate(fd, 0, static_cast<off_t>(bytes));
    if (error != 0) return {error, "reserving space failed"};
  } else if (is_short && ftruncate(fd, static_cast<off_t>(bytes)) != 0) {
    return {errno, "growing the file failed"};
  }
  return {};
}

}  // namespace

Status Mapping::open(const char* path, uint64_t bytes, Options options) noexcept {
  close();
  const bool writable = options.writable || options.create;
  const int flags = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC;
  bool made = false;
  int fd = ::open(path, flags);
  if (fd < 0 && errno == ENOENT && options.create) {
    fd = ::open(path, flags | O_CREAT | O_EXCL, 0600);
    made = fd >= 0;
  }
  if (fd < 0) return {errno, "opening the file failed"};
  Status status = grow(fd, bytes, options);
  if (status.ok()) {
    const int access = PROT_READ | (writable ? PROT_WRITE : 0);
    void* at = mmap(nullptr, bytes, access, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (at == MAP_FAILED) {
      status = {errno, "mapping failed"};
    } else {
      data_ = static_cast<uint8_t*>(at);
      bytes_ = bytes;
      writable_ = writable;
      fd_ = fd;
      if (options.sparse) find_reserved();
      return {};
    }
  }
  if (made) unlink(path);
  ::close(fd);
  return status;
}

Status Mapping::reserve_extents(uint64_t first, uint64_t count) noexcept {
  constexpr uint64_t kExtentBytes = kExtentPages * kPageBytes;
  for (uint64_t e = first / kExtentPages; e * kExtentPages < first + count; e++) {
    if (is_reserved(e)) continue;
    const uint64_t begin = e * kExtentBytes;
    const uint64_t length = bytes_ - begin < kExtentBytes ? bytes_ - begin : kExtentBytes;
    const int error = posix_fallocate(fd_, static_cast<off_t>(begin), static_cast<off_t>(length));
    if (error != 0) return {error, "reserving space failed"};
    __atomic_fetch_or(&reserved_[e / 64], uint64_t{1} << e % 64, __ATOMIC_RELAXED);
  }
  return {};
}

void Mapping::find_reserved() noexcept {
  const uint64_t extents = (pages_in(bytes_) + kExtentPages - 1) / kExtentPages;
  reserved_.assign((extents + 63) / 64, 0);
  constexpr uint64_t kExtentBytes = kExtentPages * kPageBytes;
  for (off_t at = 0; static_cast<uint64_t>(at) < bytes_;) {
    const off_t data = lseek(fd_, at, SEEK_DATA);
    const off_t hole = data < 0 ? -1 : lseek(fd_, data, SEEK_HOLE);
    if (hole < 0) return;
    // Whoever wrote a page had reserved its extent. One reserved and never written counts as a hole, and is reserved again.
    const uint64_t end = std::min((static_cast<uint64_t>(hole) + kExtentBytes - 1) / kExtentBytes, extents);
    for (uint64_t e = static_cast<uint64_t>(data) / kExtentBytes; e < end; e++) {
      reserved_[e / 64] |= uint64_t{1} << e % 64;
    }
    at = hole;
  }
}

Status Mapping::anonymous(uint64_t bytes) noexcept {
  close();
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return {errno, "mapping memory failed"};
  data_ = static_cast<uint8_t*>(at);
  bytes_ = bytes;
  writable_ = true;
  return {};
}

void Mapping::view(const uint8_t* data, uint64_t bytes) noexcept {
  close();
  data_ = const_cast<uint8_t*>(data);  // writable_ stays false, and every writer asks it
  bytes_ = bytes;
  owned_ = false;
}

Status Mapping::sync() noexcept {
  if (data_ != nullptr && owned_ && msync(data_, bytes_, MS_SYNC) != 0) return {errno, "msync failed"};
  return {};
}

void Mapping::close() noexcept {
  if (data_ != nullptr && owned_) munmap(data_, bytes_);
  data_ = nullptr;
  bytes_ = 0;
  writable_ = false;
  owned_ = true;
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  reserved_.clear();
}

}  // namespace romulus
