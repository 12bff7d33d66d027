/** Anything a client can say: the haggling never asks for more than its bounds, and no request passes that leaves the disk. */
#include <cstdlib>

#include "../disk/nbd_handshake.h"
#include "../disk/nbd_wire.h"

using namespace romulus::disk::nbd;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr uint64_t kDisk = 1 << 20;
  Handshake handshake("vm", kDisk, kExportFlags);
  std::span<const uint8_t> left(data, size);
  std::vector<uint8_t> out;
  while (handshake.needs() > 0) {
    if (handshake.needs() > kMaxOptionBytes) std::abort();
    if (handshake.needs() > left.size()) return 0;
    const auto step = left.first(handshake.needs());
    left = left.subspan(step.size());
    handshake.consume(step, out);
  }
  if (handshake.state() != Handshake::State::kTransmission) return 0;
  while (left.size() >= kRequestBytes) {
    Request request;
    if (!parse_request(left.first<kRequestBytes>(), request)) return 0;
    left = left.subspan(kRequestBytes);
    if (check_request(request, kDisk) != 0 || request.command == Command::kFlush) continue;
    if (request.offset + request.bytes > kDisk || request.offset + request.bytes < request.offset) std::abort();
    if (request.has_data()) {
      if (request.bytes > left.size()) return 0;
      left = left.subspan(request.bytes);
    }
  }
  return 0;
}
