/** Page numbers are checked against the bitmap here; the engine trusts them. */
#include "bitmap_binding.h"

#include <cerrno>
#include <span>

#include "args.h"
#include "module.h"

namespace romulus::binding {
namespace {

/** Pairs in one answer of runs(): 2 GiB of array. */
constexpr uint64_t kMaxRuns = uint64_t{1} << 27;

}  // namespace

Napi::FunctionReference BitmapBinding::define(Napi::Env env) {
  return Napi::Persistent(
      DefineClass(env, kName,
                  {InstanceAccessor<&BitmapBinding::pages>("pages", napi_enumerable),
                   InstanceMethod<&BitmapBinding::set>("set"), InstanceMethod<&BitmapBinding::set_all>("setAll"),
                   InstanceMethod<&BitmapBinding::clear>("clear"), InstanceMethod<&BitmapBinding::count>("count"),
                   InstanceMethod<&BitmapBinding::merge>("or"), InstanceMethod<&BitmapBinding::test>("test"),
                   InstanceMethod<&BitmapBinding::runs>("runs"), InstanceMethod<&BitmapBinding::load>("load")}));
}

Napi::Value BitmapBinding::create(const Napi::CallbackInfo& info) { return Module::of(info.Env()).bitmap.New({info[0]}); }

BitmapBinding::BitmapBinding(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  uint64_t pages = 0;
  if (!to_uint(info.Env(), info[0], "pages", kMaxPages, pages)) return;
  if (const Status status = bitmap_.create(pages); !status.ok()) {
    make_error(info.Env(), status).ThrowAsJavaScriptException();
    return;
  }
  info.This().As<Napi::Object>().TypeTag(&kTag);
}

Bitmap* BitmapBinding::idle(Napi::Env env) {
  if (!busy_) return &bitmap_;
  throw_error(env, EBUSY, "the bitmap belongs to a running encode");
  return nullptr;
}

Napi::Value BitmapBinding::pages(const Napi::CallbackInfo& info) { return number(info.Env(), bitmap_.pages()); }

void BitmapBinding::set(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  uint64_t page = 0;
  uint64_t count = 1;
  if (idle(env) == nullptr || !to_uint(env, info[0], "page", bitmap_.pages(), page)) return;
  const uint64_t most = bitmap_.pages() - page;
  if (!info[1].IsUndefined() && !to_uint(env, info[1], "count", most, count)) return;
  if (count > most) {
    Napi::RangeError::New(env, "page is beyond the bitmap").ThrowAsJavaScriptException();
    return;
  }
  bitmap_.set(page, count);
}

void BitmapBinding::set_all(const Napi::CallbackInfo& info) {
  if (Bitmap* bitmap = idle(info.Env())) bitmap->set_all();
}

void BitmapBinding::clear(const Napi::CallbackInfo& info) {
  if (Bitmap* bitmap = idle(info.Env())) bitmap->clear();
}

Napi::Value BitmapBinding::count(const Napi::CallbackInfo& info) {
  Bitmap* bitmap = idle(info.Env());
  return bitmap == nullptr ? info.Env().Undefined() : number(info.Env(), bitmap->count());
}

void BitmapBinding::merge(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto* other = unwrap<BitmapBinding>(env, info[0], "other");
  if (other == nullptr || idle(env) == nullptr || other->idle(env) == nullptr) return;
  if (other->bitmap_.pages() != bitmap_.pages()) return throw_error(env, EINVAL, "bitmaps of different sizes");
  bitmap_.merge(other->bitmap_);
}

Napi::Value BitmapBinding::test(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  uint64_t page = 0;
  if (idle(env) == nullptr || !to_uint(env, info[0], "page", bitmap_.pages() - 1, page)) return env.Undefined();
  return Napi::Boolean::New(env, bitmap_.test(page));
}

Napi::Value BitmapBinding::runs(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (idle(env) == nullptr) return env.Undefined();
  const uint64_t runs = bitmap_.count_runs();
  if (runs > kMaxRuns) {
    throw_error(env, EFBIG, "too many runs for one array");
    return env.Undefined();
  }
  auto pairs = Napi::Float64Array::New(env, 2 * runs);
  if (!env.IsExceptionPending()) bitmap_.write_runs(std::span<double>(pairs.Data(), 2 * runs));
  return pairs;
}

void BitmapBinding::load(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::span<const uint8_t> bytes;
  if (idle(env) == nullptr || !to_bytes(env, info[0], "words", bytes)) return;
  if (bytes.size() > bitmap_.words().size_bytes()) {
    Napi::RangeError::New(env, "words reach beyond the bitmap").ThrowAsJavaScriptException();
    return;
  }
  bitmap_.load(bytes);
}

}  // namespace romulus::binding
