/** libzstd's streaming decoder over stdio; several frames one after the other are one content, as for the zstd program. */
#include "zstd_file.h"

#include <cerrno>

namespace romulus {
namespace {

/** What is read of the file at once. */
constexpr size_t kReadBytes = 128 * 1024;
/** A recording may be packed with `--long=30`; what is asked of memory is then that much. */
constexpr int kMaxWindowLog = 30;

}  // namespace

Status ZstdFile::open(const char* path) noexcept {
  file_.reset(std::fopen(path, "rbe"));
  if (file_ == nullptr) return {errno, "the file cannot be opened"};
  context_.reset(ZSTD_createDCtx());
  if (context_ == nullptr) return {ENOMEM, "no memory to unpack a file"};
  ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, kMaxWindowLog);
  packed_.resize(kReadBytes);
  return {};
}

Status ZstdFile::fill(std::span<uint8_t> into, uint64_t& filled) noexcept {
  ZSTD_outBuffer output = {into.data(), into.size(), 0};
  filled = 0;
  while (output.pos < output.size) {
    if (input_.pos == input_.size && !more_inside_) {
      const size_t got = std::fread(packed_.data(), 1, packed_.size(), file_.get());
      if (std::ferror(file_.get()) != 0) return {EIO, "the file cannot be read"};
      if (got == 0 && within_frame_) return {EBADMSG, "its zstd data ends too early"};
      if (got == 0) break;
      input_ = {packed_.data(), got, 0};
    }
    const size_t left = ZSTD_decompressStream(context_.get(), &output, &input_);
    if (ZSTD_isError(left) != 0) return {EBADMSG, "it is no zstd data, or damaged"};
    within_frame_ = left != 0;
    more_inside_ = output.pos == output.size && within_frame_;
  }
  filled = output.pos;
  return {};
}

}  // namespace romulus
