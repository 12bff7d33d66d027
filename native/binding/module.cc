/** The addon's export list: what native/index.ts declares, name by name. */
#include "module.h"

#include "../engine/cpu.h"
#include "apply_binding.h"
#include "args.h"
#include "bitmap_binding.h"
#include "disk_binding.h"
#include "encoder_binding.h"
#include "gate_binding.h"
#include "memory_binding.h"
#include "pagemap_binding.h"
#include "pages_binding.h"
#include "zstd_binding.h"
#include "zstd_file_binding.h"

namespace romulus::binding {
namespace {

Napi::Value cpu(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
#if defined(__x86_64__)
  const char* arch = "x86_64";
#elif defined(__aarch64__)
  const char* arch = "aarch64";
#else
  const char* arch = "other";
#endif
  auto features = Napi::Array::New(env);
  const auto add = [&](bool has, const char* name) {
    if (has) features.Set(features.Length(), name);
  };
  add(cpu_features().sse42, "sse4.2");
  add(cpu_features().avx2, "avx2");
  add(cpu_features().avx512, "avx512");
  add(cpu_features().vpclmul, "vpclmulqdq");
  auto chosen = Napi::Object::New(env);
  for (const char* kernel : {"scan", "delta", "apply"}) chosen.Set(kernel, kernels().name);
  auto result = Napi::Object::New(env);
  result.Set("arch", arch);
  result.Set("features", features);
  result.Set("kernels", chosen);
  return result;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  auto* module = new Module;  // deleted by Node-API with the environment
  module->memory = MemoryBinding::define(env);
  module->bitmap = BitmapBinding::define(env);
  module->pagemap_scan = PagemapBinding::define(env);
  module->encoder = EncoderBinding::define(env);
  module->disk = DiskBinding::define(env);
  module->relay = RelayBinding::define(env);
  module->zstd_file = ZstdFileBinding::define(env);
  env.SetInstanceData(module);

  const auto export_function = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  export_function("openMemory", open_memory);
  export_function("anonymousMemory", anonymous_memory);
  export_function("viewMemory", view_memory);
  export_function("createBitmap", BitmapBinding::create);
  export_function("pagemapScanSupported", PagemapBinding::supported);
  export_function("openPagemapScan", PagemapBinding::open);
  export_function("createEncoder", EncoderBinding::create);
  export_function("checkPayload", check_payload);
  export_function("reservePayload", reserve_payload);
  export_function("checkEpoch", check_epoch);
  export_function("applyPayloads", apply_payloads);
  export_function("digestOf", digest_of);
  export_function("crc32c", crc32c);
  export_function("compress", compress);
  export_function("decompress", decompress);
  export_function("openZstdFile", ZstdFileBinding::open);
  export_function("pageNumbers", page_numbers);
  export_function("markPages", mark_pages);
  export_function("xorPages", xor_pages);
  export_function("diffPages", diff_pages);
  export_function("copyPages", copy_pages);
  export_function("gatherPages", gather_pages);
  export_function("pageHashes", page_hashes);
  export_function("skipUntouched", skip_untouched);
  export_function("firstDifference", first_difference);
  export_function("openDisk", DiskBinding::open);
  export_function("openRelay", RelayBinding::open);
  export_function("netlinkRequest", netlink_request);
  export_function("sendFrame", send_frame);
  export_function("connectNbd", connect_nbd);
  export_function("bootTimeMs", boot_time_ms);
  export_function("cpu", cpu);
  return exports;
}

}  // namespace
}  // namespace romulus::binding

using romulus::binding::init;
NODE_API_MODULE(engine, init)
