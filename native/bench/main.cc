/** romulus-bench scan|delta|apply [--rounds N] [--threads N] [--gib N]... [TRACE]...: prints JSON rows. */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "delta_bench.h"
#include "scan_bench.h"
#include "trace.h"

using namespace romulus::bench;

namespace {

struct Arguments {
  std::string what;
  uint32_t rounds = 3;
  uint32_t threads = 2;
  std::vector<uint64_t> gibs;
  std::vector<Trace> traces;
};

int usage() {
  std::fputs("usage: romulus-bench scan|delta|apply [--rounds N] [--threads N] [--gib N]... [TRACE | dense | sparse]...\n", stderr);
  return 2;
}

bool parse(int count, char** words, Arguments& arguments) {
  if (count < 2) return false;
  arguments.what = words[1];
  for (int i = 2; i < count; i++) {
    const std::string word = words[i];
    if (word.starts_with("--")) {
      if (i + 1 == count) return false;
      const unsigned long value = std::strtoul(words[++i], nullptr, 10);
      if (value < 1 || value > 4096) return false;
      if (word == "--rounds") arguments.rounds = static_cast<uint32_t>(value);
      else if (word == "--threads") arguments.threads = static_cast<uint32_t>(value);
      else if (word == "--gib") arguments.gibs.push_back(value);
      else return false;
      continue;
    }
    Trace& trace = arguments.traces.emplace_back();
    // 32 MiB an epoch, each version: more than the caches hold.
    if (word == "dense") trace.synthesize("dense", 8192, 3, 512);
    else if (word == "sparse") trace.synthesize("sparse", 8192, 3, 8);
    else if (const romulus::Status status = trace.read(words[i]); !status.ok()) {
      std::fprintf(stderr, "romulus-bench: %s: %s\n", words[i], status.what);
      std::exit(1);
    }
  }
  return true;
}

}  // namespace

int main(int count, char** words) {
  Arguments arguments;
  if (!parse(count, words, arguments)) return usage();
  if (arguments.gibs.empty()) arguments.gibs = {1, 4};
  const bool known = arguments.what == "scan" || arguments.what == "delta" || arguments.what == "apply";
  if (!known) return usage();
  Rows rows;
  if (arguments.what == "scan") {
    for (const uint64_t gib : arguments.gibs) {
      bench_scan(gib, arguments.threads, arguments.rounds, rows);
      for (const Trace& trace : arguments.traces) bench_scan_trace(trace, gib, arguments.threads, arguments.rounds, rows);
    }
  }
  for (const Trace& trace : arguments.traces) {
    if (arguments.what == "delta") bench_delta(trace, arguments.threads, arguments.rounds, rows);
    if (arguments.what == "apply") bench_apply(trace, arguments.threads, arguments.rounds, rows);
  }
  rows.end();
}
