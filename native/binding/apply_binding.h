/** Functions of the backup's half: check, apply, digest, checksum. */
#pragma once

#include <napi.h>

namespace romulus::binding {

Napi::Value check_payload(const Napi::CallbackInfo& info);
Napi::Value reserve_payload(const Napi::CallbackInfo& info);
Napi::Value check_epoch(const Napi::CallbackInfo& info);
Napi::Value apply_payloads(const Napi::CallbackInfo& info);
Napi::Value digest_of(const Napi::CallbackInfo& info);
Napi::Value crc32c(const Napi::CallbackInfo& info);

}  // namespace romulus::binding
