/** JavaScript's `PagemapScan`. */
#pragma once

#include <napi.h>

#include "../linux/pagemap_scan.h"

namespace romulus::binding {

class PagemapBinding : public Napi::ObjectWrap<PagemapBinding> {
 public:
  static Napi::FunctionReference define(Napi::Env env);
  static Napi::Value open(const Napi::CallbackInfo& info);
  static Napi::Value supported(const Napi::CallbackInfo& info);

  explicit PagemapBinding(const Napi::CallbackInfo& info);

 private:
  Napi::Value take(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);

  PagemapScan scan_;
};

}  // namespace romulus::binding
