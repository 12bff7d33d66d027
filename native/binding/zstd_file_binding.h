/** JavaScript's `ZstdFile`. */
#pragma once

#include <napi.h>

#include <memory>

#include "../engine/zstd_file.h"

namespace romulus::binding {

class ZstdFileBinding : public Napi::ObjectWrap<ZstdFileBinding> {
 public:
  static Napi::FunctionReference define(Napi::Env env);
  static Napi::Value open(const Napi::CallbackInfo& info);

  explicit ZstdFileBinding(const Napi::CallbackInfo& info);

  void set_busy(bool busy) { busy_ = busy; }

 private:
  Napi::Value fill(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);

  /** Shared with the read under way. */
  std::shared_ptr<ZstdFile> file_;
  bool busy_ = false;
};

}  // namespace romulus::binding
