/** JavaScript's `Memory`: a mapping that stays mapped while work on it runs, even if closed meanwhile. */
#pragma once

#include <napi.h>

#include <memory>

#include "../engine/mapping.h"

namespace romulus::binding {

class MemoryBinding : public Napi::ObjectWrap<MemoryBinding> {
 public:
  static constexpr napi_type_tag kTag = {0x8f3b1d5a6c7e4f10, 0x9a2b3c4d5e6f7081};
  static constexpr const char* kName = "Memory";
  static Napi::FunctionReference define(Napi::Env env);
  /** A `Memory` around a mapping. */
  static Napi::Value wrap(Napi::Env env, std::shared_ptr<Mapping> mapping);

  explicit MemoryBinding(const Napi::CallbackInfo& info);

  /** Null after throwing, if the memory was closed. */
  std::shared_ptr<Mapping> mapping(Napi::Env env) const;

 private:
  Napi::Value size_bytes(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  void write(const Napi::CallbackInfo& info);
  Napi::Value sync(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);

  std::shared_ptr<Mapping> mapping_;
  uint64_t bytes_ = 0;
};

Napi::Value open_memory(const Napi::CallbackInfo& info);
Napi::Value anonymous_memory(const Napi::CallbackInfo& info);
Napi::Value view_memory(const Napi::CallbackInfo& info);

}  // namespace romulus::binding
