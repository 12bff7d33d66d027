/** Through the page cache: QEMU's guests have their own cache, but an epoch's blocks are read back soon after they were written. */
#include "disk_image.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace romulus::disk {
namespace {

constexpr size_t kZerosBytes = 256 * 1024;
alignas(4096) constexpr uint8_t kZeros[kZerosBytes] = {};

}  // namespace

Status Image::open(const char* path, uint64_t create_bytes) noexcept {
  close();
  fd_ = ::open(path, O_RDWR | O_CLOEXEC | (create_bytes > 0 ? O_CREAT : 0), 0600);
  if (fd_ < 0) return {errno, "cannot open the disk image"};
  struct stat stat;
  Status status;
  if (flock(fd_, LOCK_EX | LOCK_NB) < 0) {
    status = {errno == EWOULDBLOCK ? EBUSY : errno, "the disk image is in use"};
  } else if (fstat(fd_, &stat) < 0) {
    status = {errno, "cannot look at the disk image"};
  } else if (S_ISBLK(stat.st_mode)) {
    if (ioctl(fd_, BLKGETSIZE64, &bytes_) < 0) status = {errno, "cannot tell the size of the block device"};
  } else if (!S_ISREG(stat.st_mode)) {
    status = {EINVAL, "the disk is neither a file nor a block device"};
  } else {
    bytes_ = static_cast<uint64_t>(stat.st_size);
    if (bytes_ == 0 && create_bytes > 0) {
      if (ftruncate(fd_, static_cast<off_t>(create_bytes)) < 0) status = {errno, "cannot make the disk image"};
      bytes_ = create_bytes;
    }
  }
  if (status.ok() && bytes_ == 0) status = {EINVAL, "the disk image is empty"};
  if (!status.ok()) close();
  return status;
}

void Image::close() noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  bytes_ = 0;
}

Status Image::read(uint64_t offset, std::span<uint8_t> to) const noexcept {
  for (size_t done = 0; done < to.size();) {
    const ssize_t got = pread(fd_, to.data() + done, to.size() - done, static_cast<off_t>(offset + done));
    if (got > 0) done += static_cast<size_t>(got);
    else if (got == 0) return {EIO, "the disk image has become shorter"};
    else if (errno != EINTR) return {errno, "cannot read the disk image"};
  }
  return {};
}

bool Image::read_cached(uint64_t offset, std::span<uint8_t> to) const noexcept {
  const iovec part{to.data(), to.size()};
  return preadv2(fd_, &part, 1, static_cast<off_t>(offset), RWF_NOWAIT) == static_cast<ssize_t>(to.size());
}

Status Image::write(uint64_t offset, std::span<const uint8_t> from) noexcept {
  for (size_t done = 0; done < from.size();) {
    const ssize_t put = pwrite(fd_, from.data() + done, from.size() - done, static_cast<off_t>(offset + done));
    if (put > 0) done += static_cast<size_t>(put);
    else if (put == 0 || errno != EINTR) return {put == 0 ? EIO : errno, "cannot write the disk image"};
  }
  return {};
}

Status Image::zero(uint64_t offset, uint64_t bytes) noexcept {
  const auto at = static_cast<off_t>(offset);
  const auto length = static_cast<off_t>(bytes);
  if (fallocate(fd_, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, at, length) == 0) return {};
  return write_zeros(offset, bytes);
}

Status Image::trim(uint64_t offset, uint64_t bytes) noexcept {
  const auto at = static_cast<off_t>(offset);
  const auto length = static_cast<off_t>(bytes);
  if (fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, length) == 0) return {};
  return zero(offset, bytes);
}

Status Image::write_zeros(uint64_t offset, uint64_t bytes) noexcept {
  for (uint64_t done = 0; done < bytes;) {
    const auto piece = static_cast<size_t>(std::min<uint64_t>(bytes - done, kZerosBytes));
    if (const Status status = write(offset + done, {kZeros, piece}); !status.ok()) return status;
    done += piece;
  }
  return {};
}

Status Image::flush() noexcept {
  if (fdatasync(fd_) < 0) return {errno, "cannot make the disk image durable"};
  return {};
}

bool Image::next_hole(uint64_t from, uint64_t& begin, uint64_t& end) const noexcept {
  const off_t hole = lseek(fd_, static_cast<off_t>(from), SEEK_HOLE);
  // Every file has a hole at its end; there is nothing in that one.
  if (hole < 0 || static_cast<uint64_t>(hole) >= bytes_) return false;
  const off_t data = lseek(fd_, hole, SEEK_DATA);
  if (data < 0 && errno != ENXIO) return false;
  begin = static_cast<uint64_t>(hole);
  end = data < 0 ? bytes_ : static_cast<uint64_t>(data);
  return true;
}

}  // namespace romulus::disk
