/** Errors by name and arguments by range. */
#include "args.h"

#include <cerrno>
#include <cstring>

namespace romulus::binding {

const char* error_name(int error) noexcept {
  switch (error) {
    case EACCES: return "EACCES";
    case EAGAIN: return "EAGAIN";
    case EBADF: return "EBADF";
    case EBADMSG: return "EBADMSG";
    case EBUSY: return "EBUSY";
    case ECANCELED: return "ECANCELED";
    case ECONNREFUSED: return "ECONNREFUSED";
    case EEXIST: return "EEXIST";
    case EFBIG: return "EFBIG";
    case EINVAL: return "EINVAL";
    case EIO: return "EIO";
    case EISDIR: return "EISDIR";
    case EMFILE: return "EMFILE";
    case ENAMETOOLONG: return "ENAMETOOLONG";
    case ENFILE: return "ENFILE";
    case ENODEV: return "ENODEV";
    case ENOENT: return "ENOENT";
    case ENOMEM: return "ENOMEM";
    case ENOSPC: return "ENOSPC";
    case ENOSYS: return "ENOSYS";
    case ENOTDIR: return "ENOTDIR";
    case ENOTTY: return "ENOTTY";
    case EOPNOTSUPP: return "EOPNOTSUPP";
    case EPERM: return "EPERM";
    case EROFS: return "EROFS";
    case ESRCH: return "ESRCH";
    case ETIME: return "ETIME";
    default: return "EUNKNOWN";
  }
}

Napi::Error make_error(Napi::Env env, const Status& status) {
  const char* code = error_name(status.error);
  std::string message = std::string(code) + ": " + status.what;
  if (std::strcmp(code, "EUNKNOWN") == 0) message += " (errno " + std::to_string(status.error) + ")";
  Napi::Error error = Napi::Error::New(env, message);
  error.Value().Set("code", Napi::String::New(env, code));
  return error;
}

bool to_uint(Napi::Env env, const Napi::Value& value, const char* name, uint64_t most, uint64_t& out) {
  if (!value.IsNumber()) {
    Napi::TypeError::New(env, std::string(name) + " must be a number").ThrowAsJavaScriptException();
    return false;
  }
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= 0 && number <= static_cast<double>(most)) || number != std::floor(number)) {
    const std::string range = std::string(name) + " must be an integer from 0 to " + std::to_string(most);
    Napi::RangeError::New(env, range).ThrowAsJavaScriptException();
    return false;
  }
  out = static_cast<uint64_t>(number);
  return true;
}

bool to_bytes(Napi::Env env, const Napi::Value& value, const char* name, std::span<const uint8_t>& out) {
  if (value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array) {
    const auto bytes = value.As<Napi::Uint8Array>();
    out = {bytes.Data(), bytes.ByteLength()};
    return true;
  }
  Napi::TypeError::New(env, std::string(name) + " must be a Uint8Array").ThrowAsJavaScriptException();
  return false;
}

}  // namespace romulus::binding
