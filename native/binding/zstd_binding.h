/** Compression between buffers the caller owns. */
#pragma once

#include <napi.h>

namespace romulus::binding {

Napi::Value compress(const Napi::CallbackInfo& info);
Napi::Value decompress(const Napi::CallbackInfo& info);

}  // namespace romulus::binding
