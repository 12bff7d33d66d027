/** One context of each kind per thread: making one costs more than compressing a small chunk. */
#include "zstd_codec.h"

#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

namespace romulus {
namespace {

struct Free {
  void operator()(ZSTD_CCtx* context) const noexcept { ZSTD_freeCCtx(context); }
  void operator()(ZSTD_DCtx* context) const noexcept { ZSTD_freeDCtx(context); }
};

ZSTD_CCtx* compressor() noexcept {
  thread_local const std::unique_ptr<ZSTD_CCtx, Free> context(ZSTD_createCCtx());
  return context.get();
}

ZSTD_DCtx* decompressor() noexcept {
  thread_local const std::unique_ptr<ZSTD_DCtx, Free> context(ZSTD_createDCtx());
  return context.get();
}

/** Payloads from this size on are sampled first; below, the attempt costs no more than the sample. */
constexpr uint64_t kSampledBytes = 128 * 1024;
/** Whoever asks for more than this wants bytes saved at any price. */
constexpr int kMaxSampledLevel = 3;
constexpr uint64_t kSamples = 4;
constexpr uint64_t kSampleBytes = 4096;
/** A sample that keeps more than this share, in 64ths, promises nothing: random numbers, floating point, ciphertext. */
constexpr uint64_t kHopelessShare = 62;
/**
 * Level 1 has a table of 2^14 places, which forgets all that lies further back than some 64 KiB of data without repeats.
 * From this size on a payload gets the larger table of level 2. Smaller ones gain less by it than it takes time.
 */
constexpr uint64_t kWideBytes = 512 * 1024;
constexpr int kWideHashLog = 16;
/** All of a payload. */
constexpr int kWideWindowLog = 21;

/**
 * Compresses a few places of the payload with the fastest level, to spare the processor where nothing is to be gained, or
 * not enough to fit into `room`.
 */
bool looks_incompressible(ZSTD_CCtx* context, std::span<const uint8_t> from, uint64_t room) noexcept {
  uint8_t sample[kSamples * kSampleBytes];
  uint8_t out[kSamples * kSampleBytes + 1024];
  for (uint64_t i = 0; i < kSamples; i++) {
    std::memcpy(sample + i * kSampleBytes, from.data() + (from.size() - kSampleBytes) / kSamples * i, kSampleBytes);
  }
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 1);
  const size_t result = ZSTD_compress2(context, out, sizeof out, sample, sizeof sample);
  const uint64_t fits = room >= from.size() ? sizeof sample : sizeof sample * room / from.size();
  return ZSTD_isError(result) || result > std::min<uint64_t>(fits, sizeof sample / 64 * kHopelessShare);
}

}  // namespace

Status compress(std::span<const uint8_t> from, std::span<uint8_t> to, const CompressOptions& options,
                uint64_t& written) noexcept {
  written = 0;
  if (options.level < kMinCompressionLevel || options.level > kMaxCompressionLevel) {
    return {EINVAL, "there is no such compression level"};
  }
  ZSTD_CCtx* const context = compressor();
  if (context == nullptr) return {ENOMEM, "no memory for a compressor"};
  ZSTD_CCtx_reset(context, ZSTD_reset_session_and_parameters);
  // The frame that carries the payload has a checksum of its own.
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 0);
  const bool is_sampled = from.size() >= kSampledBytes && options.level <= kMaxSampledLevel;
  if (is_sampled && looks_incompressible(context, from, to.size())) return {};
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, options.level);
  if (options.level == 1 && from.size() >= kWideBytes) {
    ZSTD_CCtx_setParameter(context, ZSTD_c_hashLog, kWideHashLog);
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, kWideWindowLog);
  }
  if (options.long_window) ZSTD_CCtx_setParameter(context, ZSTD_c_enableLongDistanceMatching, 1);
  const size_t result = ZSTD_compress2(context, to.data(), to.size(), from.data(), from.size());
  if (!ZSTD_isError(result)) {
    written = result;
    return {};
  }
  if (ZSTD_getErrorCode(result) == ZSTD_error_dstSize_tooSmall) return {};
  return {ENOMEM, "compressing failed"};
}

Status decompress(std::span<const uint8_t> from, std::span<uint8_t> to, uint64_t& written) noexcept {
  written = 0;
  const unsigned long long content = ZSTD_getFrameContentSize(from.data(), from.size());
  if (content == ZSTD_CONTENTSIZE_ERROR || content == ZSTD_CONTENTSIZE_UNKNOWN || content > to.size()) {
    return {EBADMSG, "the compressed payload is malformed or longer than allowed"};
  }
  ZSTD_DCtx* const context = decompressor();
  if (context == nullptr) return {ENOMEM, "no memory for a decompressor"};
  // ZSTD_decompress would go on to further frames; one frame has to be all there is.
  if (ZSTD_findFrameCompressedSize(from.data(), from.size()) != from.size()) {
    return {EBADMSG, "bytes follow the compressed payload"};
  }
  const size_t result = ZSTD_decompressDCtx(context, to.data(), to.size(), from.data(), from.size());
  if (ZSTD_isError(result) || result != content) return {EBADMSG, "the compressed payload is malformed"};
  written = result;
  return {};
}

}  // namespace romulus
