/** Bounds are checked here, so the engine may trust its ranges. */
#include "memory_binding.h"

#include <cerrno>
#include <cstring>
#include <new>

#include "../engine/page.h"
#include "args.h"
#include "module.h"
#include "task.h"

namespace romulus::binding {
namespace {

/** Largest piece read() copies out at once: device state and tests, not guest RAM. */
constexpr uint64_t kMaxReadBytes = 256 * 1024 * 1024;
constexpr uint64_t kMaxMemoryBytes = kMaxPages * kPageBytes;

class SyncTask final : public Task {
 public:
  SyncTask(Napi::Env env, std::shared_ptr<Mapping> mapping) : Task(env), mapping_(std::move(mapping)) {}

 protected:
  Status run() noexcept override { return mapping_->sync(); }
  Napi::Value finish(Napi::Env env, const Status&) override { return env.Undefined(); }

 private:
  std::shared_ptr<Mapping> mapping_;
};

bool to_memory_bytes(Napi::Env env, const Napi::Value& value, uint64_t& bytes) {
  if (!to_uint(env, value, "sizeBytes", kMaxMemoryBytes, bytes)) return false;
  if (bytes != 0 && bytes % kPageBytes == 0) return true;
  throw_error(env, EINVAL, "sizeBytes must be a multiple of 4096 and not 0");
  return false;
}

}  // namespace

Napi::FunctionReference MemoryBinding::define(Napi::Env env) {
  return Napi::Persistent(DefineClass(env, kName,
                                      {InstanceAccessor<&MemoryBinding::size_bytes>("sizeBytes", napi_enumerable),
                                       InstanceMethod<&MemoryBinding::read>("read"),
                                       InstanceMethod<&MemoryBinding::write>("write"),
                                       InstanceMethod<&MemoryBinding::sync>("sync"),
                                       InstanceMethod<&MemoryBinding::close>("close")}));
}

Napi::Value MemoryBinding::wrap(Napi::Env env, std::shared_ptr<Mapping> mapping) {
  const auto external = Napi::External<std::shared_ptr<Mapping>>::New(env, &mapping);
  return Module::of(env).memory.New({external});
}

MemoryBinding::MemoryBinding(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (info.Length() != 1 || !info[0].IsExternal()) {
    Napi::TypeError::New(info.Env(), "use openMemory()").ThrowAsJavaScriptException();
    return;
  }
  mapping_ = *info[0].As<Napi::External<std::shared_ptr<Mapping>>>().Data();
  bytes_ = mapping_->bytes();
  info.This().As<Napi::Object>().TypeTag(&kTag);
}

std::shared_ptr<Mapping> MemoryBinding::mapping(Napi::Env env) const {
  if (mapping_ == nullptr) throw_error(env, EBADF, "the memory is closed");
  return mapping_;
}

Napi::Value MemoryBinding::size_bytes(const Napi::CallbackInfo& info) { return number(info.Env(), bytes_); }

Napi::Value MemoryBinding::read(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto mapping = this->mapping(env);
  uint64_t offset = 0;
  uint64_t length = 0;
  if (mapping == nullptr || !to_uint(env, info[0], "offset", mapping->bytes(), offset) ||
      !to_uint(env, info[1], "length", std::min(mapping->bytes() - offset, kMaxReadBytes), length)) {
    return env.Undefined();
  }
  return Napi::Buffer<uint8_t>::Copy(env, mapping->data() + offset, length);
}

void MemoryBinding::write(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto mapping = this->mapping(env);
  uint64_t offset = 0;
  std::span<const uint8_t> data;
  if (mapping == nullptr || !to_uint(env, info[0], "offset", mapping->bytes(), offset) ||
      !to_bytes(env, info[1], "data", data)) {
    return;
  }
  if (!mapping->writable()) return throw_error(env, EACCES, "the memory is mapped read-only");
  if (data.size() > mapping->bytes() - offset) {
    Napi::RangeError::New(env, "data reaches beyond the end of the memory").ThrowAsJavaScriptException();
    return;
  }
  std::memcpy(mapping->data() + offset, data.data(), data.size());
}

Napi::Value MemoryBinding::sync(const Napi::CallbackInfo& info) {
  const auto mapping = this->mapping(info.Env());
  if (mapping == nullptr) return info.Env().Undefined();
  return Task::start(std::make_unique<SyncTask>(info.Env(), mapping));
}

void MemoryBinding::close(const Napi::CallbackInfo&) { mapping_.reset(); }

Napi::Value open_memory(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString() || !info[1].IsObject()) {
    Napi::TypeError::New(env, "openMemory(path, options)").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  const auto options = info[1].As<Napi::Object>();
  uint64_t bytes = 0;
  if (!to_memory_bytes(env, options.Get("sizeBytes"), bytes)) return env.Undefined();
  const std::string path = info[0].As<Napi::String>();
  const auto mapping = std::make_shared<Mapping>();
  const Status status =
      mapping->open(path.c_str(), bytes, {flag(options, "writable"), flag(options, "create"), flag(options, "reserve"), flag(options, "sparse")});
  if (!status.ok()) {
    throw_error(env, status.error, (std::string(status.what) + ": " + path).c_str());
    return env.Undefined();
  }
  return MemoryBinding::wrap(env, mapping);
}

Napi::Value anonymous_memory(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  uint64_t bytes = 0;
  if (!to_memory_bytes(env, info[0], bytes)) return env.Undefined();
  const auto mapping = std::make_shared<Mapping>();
  if (const Status status = mapping->anonymous(bytes); !status.ok()) {
    make_error(env, status).ThrowAsJavaScriptException();
    return env.Undefined();
  }
  return MemoryBinding::wrap(env, mapping);
}

Napi::Value view_memory(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  uint64_t bytes = 0;
  bool lossless = false;
  if (!info[0].IsBigInt()) {
    Napi::TypeError::New(env, "viewMemory(address, sizeBytes)").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  const uint64_t address = info[0].As<Napi::BigInt>().Uint64Value(&lossless);
  if (!to_memory_bytes(env, info[1], bytes)) return env.Undefined();
  const auto mapping = std::make_shared<Mapping>();
  mapping->view(reinterpret_cast<const uint8_t*>(address), bytes);
  return MemoryBinding::wrap(env, mapping);
}

}  // namespace romulus::binding
