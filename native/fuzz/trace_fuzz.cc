/** Any bytes as an unpacked trace: refused, or every epoch's pages and contents lie within guest and file. */
#include <cstdlib>
#include <vector>

#include "../bench/trace.h"
#include "../engine/page.h"

using namespace romulus;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  bench::Trace trace;
  if (!trace.parse({bytes, bytes + size}).ok()) return 0;
  Mapping memory;
  if (trace.ram_bytes() > (1 << 24) || !memory.anonymous(trace.ram_bytes()).ok()) return 0;
  trace.load_initial(memory);
  for (const bench::TraceEpoch& epoch : trace.epochs()) {
    for (const uint32_t page : epoch.pages) {
      if (page >= pages_in(trace.ram_bytes())) std::abort();
    }
    bench::Trace::advance(memory, epoch);
  }
  return 0;
}
