/** The ioctl is quick (about 1 ms per GiB) and belongs inside the pause, so it runs on the calling thread. */
#include "pagemap_binding.h"

#include <cerrno>

#include "args.h"
#include "bitmap_binding.h"
#include "module.h"

namespace romulus::binding {

Napi::FunctionReference PagemapBinding::define(Napi::Env env) {
  return Napi::Persistent(DefineClass(
      env, "PagemapScan",
      {InstanceMethod<&PagemapBinding::take>("take"), InstanceMethod<&PagemapBinding::close>("close")}));
}

Napi::Value PagemapBinding::open(const Napi::CallbackInfo& info) {
  return Module::of(info.Env()).pagemap_scan.New({info[0], info[1], info[2]});
}

Napi::Value PagemapBinding::supported(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), PagemapScan::supported());
}

PagemapBinding::PagemapBinding(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  const Napi::Env env = info.Env();
  uint64_t pid = 0;
  uint64_t bytes = 0;
  if (!to_uint(env, info[0], "pid", INT32_MAX, pid)) return;
  if (!info[1].IsBigInt()) {
    Napi::TypeError::New(env, "address must be a bigint").ThrowAsJavaScriptException();
    return;
  }
  if (!to_uint(env, info[2], "sizeBytes", kMaxPages * kPageBytes, bytes)) return;
  bool lossless = false;
  const uint64_t address = info[1].As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless) {
    throw_error(env, EINVAL, "address does not fit 64 bits");
    return;
  }
  const Status status = scan_.open(static_cast<int>(pid), address, bytes);
  if (!status.ok()) make_error(env, status).ThrowAsJavaScriptException();
}

Napi::Value PagemapBinding::take(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto* into = unwrap<BitmapBinding>(env, info[0], "into");
  Bitmap* bitmap = into == nullptr ? nullptr : into->idle(env);
  if (bitmap == nullptr) return env.Undefined();
  uint64_t named = 0;
  if (const Status status = scan_.take(*bitmap, named); !status.ok()) {
    make_error(env, status).ThrowAsJavaScriptException();
    return env.Undefined();
  }
  return number(env, named);
}

void PagemapBinding::close(const Napi::CallbackInfo&) { scan_.close(); }

}  // namespace romulus::binding
