/** Every page number and length is checked here before the engine trusts it. */
#include "pages_binding.h"

#include <algorithm>
#include <cerrno>

#include "../engine/extents.h"
#include "../engine/page.h"
#include "../engine/pages.h"
#include "../engine/pool.h"
#include "args.h"
#include "bitmap_binding.h"
#include "memory_binding.h"
#include "task.h"

namespace romulus::binding {
namespace {

/** Pages hashed by one call, on the JavaScript thread. */
constexpr uint64_t kMaxHashPages = 16384;

class DifferenceTask final : public Task {
 public:
  DifferenceTask(Napi::Env env, std::shared_ptr<Mapping> a, std::shared_ptr<Mapping> b, uint32_t threads)
      : Task(env), a_(std::move(a)), b_(std::move(b)), threads_(threads) {}

 protected:
  Status run() noexcept override {
    page_ = romulus::first_difference(*a_, *b_, threads_);
    return {};
  }
  Napi::Value finish(Napi::Env env, const Status&) override {
    if (page_ == pages_in(a_->bytes())) return Napi::Number::New(env, -1);
    return number(env, page_);
  }

 private:
  std::shared_ptr<Mapping> a_;
  std::shared_ptr<Mapping> b_;
  const uint32_t threads_;
  uint64_t page_ = 0;
};

std::shared_ptr<Mapping> to_memory(Napi::Env env, const Napi::Value& value, const char* name) {
  auto* memory = unwrap<MemoryBinding>(env, value, name);
  return memory == nullptr ? nullptr : memory->mapping(env);
}

std::shared_ptr<Mapping> to_writable(Napi::Env env, const Napi::Value& value, const char* name) {
  auto mapping = to_memory(env, value, name);
  if (mapping == nullptr || mapping->writable()) return mapping;
  throw_error(env, EACCES, "the memory is mapped read-only");
  return nullptr;
}

bool to_pages(Napi::Env env, const Napi::Value& value, const Mapping& memory, PageList& out) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array) {
    Napi::TypeError::New(env, "pages must be a Uint32Array").ThrowAsJavaScriptException();
    return false;
  }
  const auto array = value.As<Napi::Uint32Array>();
  out = {array.Data(), array.ElementLength()};
  const uint64_t limit = pages_in(memory.bytes());
  if (std::all_of(out.begin(), out.end(), [&](uint32_t page) { return page < limit; })) return true;
  Napi::RangeError::New(env, "a page lies beyond the end of the memory").ThrowAsJavaScriptException();
  return false;
}

/** A buffer of exactly one page per entry of `pages`; null after throwing. */
uint8_t* to_page_data(Napi::Env env, const Napi::Value& value, PageList pages) {
  std::span<const uint8_t> data;
  if (!to_bytes(env, value, "data", data)) return nullptr;
  if (data.size() == pages.size() * kPageBytes) return const_cast<uint8_t*>(data.data());
  Napi::RangeError::New(env, "data must hold 4096 bytes for each page").ThrowAsJavaScriptException();
  return nullptr;
}

bool same_size(Napi::Env env, const Mapping& a, const Mapping& b) {
  if (a.bytes() == b.bytes()) return true;
  Napi::RangeError::New(env, "the two memories differ in size").ThrowAsJavaScriptException();
  return false;
}

}  // namespace

Napi::Value page_numbers(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto* binding = unwrap<BitmapBinding>(env, info[0], "bitmap");
  const Bitmap* bitmap = binding == nullptr ? nullptr : binding->idle(env);
  if (bitmap == nullptr) return env.Undefined();
  auto array = Napi::Uint32Array::New(env, bitmap->count());
  romulus::list_pages(*bitmap, {array.Data(), array.ElementLength()});
  return array;
}

Napi::Value mark_pages(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::span<const uint8_t> payload;
  if (!to_bytes(env, info[0], "payload", payload)) return env.Undefined();
  auto* binding = unwrap<BitmapBinding>(env, info[1], "bitmap");
  Bitmap* const bitmap = binding == nullptr ? nullptr : binding->idle(env);
  if (bitmap == nullptr) return env.Undefined();
  if (const Status status = romulus::mark_pages(payload, *bitmap); !status.ok()) {
    make_error(env, status).ThrowAsJavaScriptException();
  }
  return env.Undefined();
}

Napi::Value skip_untouched(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto memory = to_memory(env, info[0], "memory");
  auto* binding = memory == nullptr ? nullptr : unwrap<BitmapBinding>(env, info[1], "bitmap");
  Bitmap* const bitmap = binding == nullptr ? nullptr : binding->idle(env);
  if (bitmap == nullptr) return env.Undefined();
  if (bitmap->pages() != pages_in(memory->bytes())) {
    throw_error(env, EINVAL, "the bitmap has another number of pages than the memory");
    return env.Undefined();
  }
  return number(env, romulus::skip_untouched(*memory, *bitmap));
}

Napi::Value xor_pages(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto memory = to_writable(env, info[0], "memory");
  PageList pages;
  if (memory == nullptr || !to_pages(env, info[1], *memory, pages)) return env.Undefined();
  const uint8_t* const data = to_page_data(env, info[2], pages);
  if (data != nullptr || pages.empty()) romulus::xor_pages(*memory, pages, data);
  return env.Undefined();
}

Napi::Value diff_pages(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto memory = to_memory(env, info[0], "memory");
  if (memory == nullptr) return env.Undefined();
  const auto previous = to_writable(env, info[1], "previous");
  PageList pages;
  if (previous == nullptr || !same_size(env, *memory, *previous) || !to_pages(env, info[2], *memory, pages)) {
    return env.Undefined();
  }
  uint8_t* const out = to_page_data(env, info[3], pages);
  if (out != nullptr) romulus::diff_pages(*memory, *previous, pages, out);
  return env.Undefined();
}

Napi::Value copy_pages(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto from = to_memory(env, info[0], "from");
  if (from == nullptr) return env.Undefined();
  const auto to = to_writable(env, info[1], "to");
  PageList pages;
  if (to != nullptr && same_size(env, *from, *to) && to_pages(env, info[2], *from, pages)) {
    romulus::copy_pages(*from, *to, pages);
  }
  return env.Undefined();
}

Napi::Value gather_pages(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto memory = to_memory(env, info[0], "memory");
  PageList pages;
  if (memory == nullptr || !to_pages(env, info[1], *memory, pages)) return env.Undefined();
  uint8_t* const out = to_page_data(env, info[2], pages);
  if (out != nullptr) romulus::gather_pages(*memory, pages, out);
  return env.Undefined();
}

Napi::Value page_hashes(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto memory = to_memory(env, info[0], "memory");
  uint64_t first = 0;
  uint64_t count = 0;
  if (memory == nullptr || !to_uint(env, info[1], "first", pages_in(memory->bytes()), first) ||
      !to_uint(env, info[2], "count", std::min(kMaxHashPages, pages_in(memory->bytes()) - first), count)) {
    return env.Undefined();
  }
  auto hashes = Napi::BigUint64Array::New(env, count);
  romulus::hash_pages(*memory, first, {hashes.Data(), count});
  return hashes;
}

Napi::Value first_difference(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto a = to_memory(env, info[0], "a");
  const auto b = a == nullptr ? nullptr : to_memory(env, info[1], "b");
  uint64_t threads = 0;
  if (b == nullptr || !same_size(env, *a, *b) || !to_uint(env, info[2], "threads", kMaxThreads, threads)) {
    return env.Undefined();
  }
  return Task::start(std::make_unique<DifferenceTask>(env, a, b, static_cast<uint32_t>(std::max<uint64_t>(threads, 1))));
}

}  // namespace romulus::binding
