/** Work that settles a Promise: `run` on a thread of libuv's pool, or at once if it is small, `finish` on the JavaScript thread. */
#pragma once

#include <napi.h>

#include <memory>
#include <utility>
#include <vector>

#include "args.h"

namespace romulus::binding {

class Task : public Napi::AsyncWorker {
 public:
  explicit Task(Napi::Env env) : AsyncWorker(env), deferred_(Napi::Promise::Deferred::New(env)) {}

  /** Keeps a JavaScript object (and so the memory behind it) alive until the promise settled. */
  void keep(const Napi::Object& object) { kept_.push_back(Napi::Persistent(object)); }

  /** Starts `task`, which deletes itself once settled. */
  static Napi::Value start(std::unique_ptr<Task> task) {
    Task* const running = task.release();
    const Napi::Promise promise = running->deferred_.Promise();
    running->Queue();
    return promise;
  }

  /** Does work at once that takes less time than a change of thread and back; the Promise comes settled. */
  static Napi::Value do_now(std::unique_ptr<Task> task) {
    const Napi::Promise promise = task->deferred_.Promise();
    task->Execute();
    task->OnOK();
    return promise;
  }

 protected:
  virtual Status run() noexcept = 0;
  /** Called whether or not run() succeeded; the result is used only if it did. */
  virtual Napi::Value finish(Napi::Env env, const Status& status) = 0;

 private:
  void Execute() final { status_ = run(); }

  void OnOK() final {
    const Napi::HandleScope scope(Env());
    const Napi::Value result = finish(Env(), status_);
    if (status_.ok()) {
      deferred_.Resolve(result);
    } else {
      deferred_.Reject(make_error(Env(), status_).Value());
    }
  }

  Napi::Promise::Deferred deferred_;
  std::vector<Napi::ObjectReference> kept_;
  Status status_;
};

inline Napi::Value rejected(Napi::Env env, int error, const char* what) {
  const auto deferred = Napi::Promise::Deferred::New(env);
  deferred.Reject(make_error(env, {error, what}).Value());
  return deferred.Promise();
}

}  // namespace romulus::binding
