/** What the addon keeps per JavaScript environment: the constructors of its classes. */
#pragma once

#include <napi.h>

namespace romulus::binding {

struct Module {
  Napi::FunctionReference memory;
  Napi::FunctionReference bitmap;
  Napi::FunctionReference pagemap_scan;
  Napi::FunctionReference encoder;
  Napi::FunctionReference relay;
  Napi::FunctionReference disk;
  Napi::FunctionReference zstd_file;

  static Module& of(Napi::Env env) { return *env.GetInstanceData<Module>(); }
};

}  // namespace romulus::binding
