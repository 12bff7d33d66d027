/** Functions on listed pages, for traces and standbys: list, mark, XOR, diff, copy, gather, hash, compare. */
#pragma once

#include <napi.h>

namespace romulus::binding {

Napi::Value page_numbers(const Napi::CallbackInfo& info);
Napi::Value mark_pages(const Napi::CallbackInfo& info);
Napi::Value xor_pages(const Napi::CallbackInfo& info);
Napi::Value diff_pages(const Napi::CallbackInfo& info);
Napi::Value copy_pages(const Napi::CallbackInfo& info);
Napi::Value gather_pages(const Napi::CallbackInfo& info);
Napi::Value skip_untouched(const Napi::CallbackInfo& info);
Napi::Value page_hashes(const Napi::CallbackInfo& info);
Napi::Value first_difference(const Napi::CallbackInfo& info);

}  // namespace romulus::binding
