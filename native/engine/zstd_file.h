/** A zstd file read from its start, unpacked piece by piece into the caller's memory. */
#pragma once

#include <zstd.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <vector>

#include "status.h"

namespace romulus {

class ZstdFile {
 public:
  /** ENOENT and its like if it cannot be opened. */
  Status open(const char* path) noexcept;

  /** Fills `into`; `filled` is less only where the content ends. EBADMSG if that is no zstd data or ends within a frame. */
  Status fill(std::span<uint8_t> into, uint64_t& filled) noexcept;

 private:
  struct Close {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
    void operator()(ZSTD_DCtx* context) const noexcept { ZSTD_freeDCtx(context); }
  };

  std::unique_ptr<std::FILE, Close> file_;
  std::unique_ptr<ZSTD_DCtx, Close> context_;
  std::vector<uint8_t> packed_;
  ZSTD_inBuffer input_ = {nullptr, 0, 0};
  /** Of the frame under way: it is whole when nothing of it is to come. */
  bool within_frame_ = false;
  /** The last call filled all it was given: more may lie in the decoder, whatever is left of the file. */
  bool more_inside_ = false;
};

}  // namespace romulus
