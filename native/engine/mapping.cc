/** Opening, reserving and mapping, with every failure as an errno and nothing left behind. */
#include "mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

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
    }
  }
  if (!status.ok() && made) unlink(path);
  ::close(fd);
  return status;
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
}

}  // namespace romulus
