/** Runs blocking Xen calls on libuv's pool and settles a promise with what they gave. */
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "xen.h"

namespace romulus::xen {

/** A JavaScript Error whose `code` is the errno's name (or number), as Node's own system errors have it. */
inline Napi::Error to_js(Napi::Env env, const std::string& message, int code) {
  Napi::Error error = Napi::Error::New(env, code == 0 ? message : message + ": " + strerror(code));
  const char* name = code == 0 ? nullptr : strerrorname_np(code);
  if (name != nullptr) error.Set("code", Napi::String::New(env, name));
  return error;
}

template <typename Result>
class Task : public Napi::AsyncWorker {
 public:
  using Work = std::function<Result()>;
  using Convert = std::function<Napi::Value(Napi::Env, Result&)>;

  /** `owner` is kept alive, and `turn` held, while the work runs. */
  static Napi::Value start(Napi::Env env, std::shared_ptr<std::mutex> turn, Napi::Object owner, Work work, Convert convert) {
    auto* task = new Task(env, std::move(turn), std::move(work), std::move(convert));
    if (!owner.IsEmpty()) task->owner_ = Napi::Persistent(owner);
    task->Queue();
    return task->deferred_.Promise();
  }

 private:
  Task(Napi::Env env, std::shared_ptr<std::mutex> turn, Work work, Convert convert)
      : AsyncWorker(env), deferred_(env), turn_(std::move(turn)), work_(std::move(work)), convert_(std::move(convert)) {}

  void Execute() override {
    const std::lock_guard lock(*turn_);
    try {
      result_ = work_();
    } catch (const Error& error) {
      code_ = error.code();
      SetError(error.what());
    }
  }
  void OnOK() override { deferred_.Resolve(convert_(Env(), result_)); }
  void OnError(const Napi::Error& error) override { deferred_.Reject(to_js(Env(), error.Message(), code_).Value()); }

  Napi::Promise::Deferred deferred_;
  Napi::ObjectReference owner_;
  std::shared_ptr<std::mutex> turn_;
  Work work_;
  Convert convert_;
  Result result_{};
  int code_ = 0;
};

}  // namespace romulus::xen
