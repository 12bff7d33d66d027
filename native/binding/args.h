/** Checked conversions between JavaScript and the engine: a bad argument is a JavaScript error, never a crash. */
#pragma once

#include <napi.h>

#include <cmath>
#include <cstdint>
#include <span>
#include <string>

#include "../engine/status.h"

namespace romulus::binding {

/** "ENOSPC" for ENOSPC, as in Node's own errors. */
const char* error_name(int error) noexcept;

/** An Error with `code`, not yet thrown. */
Napi::Error make_error(Napi::Env env, const Status& status);

inline void throw_error(Napi::Env env, int error, const char* what) {
  make_error(env, {error, what}).ThrowAsJavaScriptException();
}

/** A non-negative integer up to `most`; throws RangeError or TypeError naming the argument and returns false otherwise. */
bool to_uint(Napi::Env env, const Napi::Value& value, const char* name, uint64_t most, uint64_t& out);

/** The bytes of a Uint8Array or Buffer, valid while the JavaScript value lives. */
bool to_bytes(Napi::Env env, const Napi::Value& value, const char* name, std::span<const uint8_t>& out);

inline constexpr uint64_t kMaxSafeInteger = (uint64_t{1} << 53) - 1;

inline Napi::Value number(Napi::Env env, uint64_t value) { return Napi::Number::New(env, static_cast<double>(value)); }

inline Napi::Value bigint(Napi::Env env, uint64_t value) { return Napi::BigInt::New(env, value); }

/** A boolean property; absent counts as false. */
inline bool flag(const Napi::Object& options, const char* name) { return options.Get(name).ToBoolean(); }

/** The wrapped engine object behind a JavaScript one of class T, or null after throwing a TypeError. */
template <typename T>
T* unwrap(Napi::Env env, const Napi::Value& value, const char* name) {
  if (value.IsObject() && value.As<Napi::Object>().CheckTypeTag(&T::kTag)) return T::Unwrap(value.As<Napi::Object>());
  Napi::TypeError::New(env, std::string(name) + " must be a " + T::kName).ThrowAsJavaScriptException();
  return nullptr;
}

}  // namespace romulus::binding
