/** Reads run on libuv's pool, one at a time, straight into the caller's buffer: nothing is left for the collector. */
#include "zstd_file_binding.h"

#include <cerrno>
#include <string>

#include "args.h"
#include "module.h"
#include "task.h"

namespace romulus::binding {
namespace {

class FillTask final : public Task {
 public:
  FillTask(Napi::Env env, ZstdFileBinding& binding, std::shared_ptr<ZstdFile> file, std::span<uint8_t> into)
      : Task(env), binding_(binding), file_(std::move(file)), into_(into) {
    binding_.set_busy(true);
  }

 protected:
  Status run() noexcept override { return file_->fill(into_, filled_); }

  Napi::Value finish(Napi::Env env, const Status&) override {
    binding_.set_busy(false);
    return number(env, filled_);
  }

 private:
  ZstdFileBinding& binding_;
  std::shared_ptr<ZstdFile> file_;
  const std::span<uint8_t> into_;
  uint64_t filled_ = 0;
};

}  // namespace

Napi::FunctionReference ZstdFileBinding::define(Napi::Env env) {
  return Napi::Persistent(DefineClass(
      env, "ZstdFile",
      {InstanceMethod<&ZstdFileBinding::fill>("fill"), InstanceMethod<&ZstdFileBinding::close>("close")}));
}

Napi::Value ZstdFileBinding::open(const Napi::CallbackInfo& info) {
  return Module::of(info.Env()).zstd_file.New({info[0]});
}

ZstdFileBinding::ZstdFileBinding(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString()) {
    Napi::TypeError::New(env, "path must be a string").ThrowAsJavaScriptException();
    return;
  }
  auto file = std::make_shared<ZstdFile>();
  if (const Status status = file->open(info[0].As<Napi::String>().Utf8Value().c_str()); !status.ok()) {
    make_error(env, status).ThrowAsJavaScriptException();
    return;
  }
  file_ = std::move(file);
}

Napi::Value ZstdFileBinding::fill(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (file_ == nullptr) return rejected(env, EBADF, "the file is closed");
  if (busy_) return rejected(env, EBUSY, "a read is under way");
  std::span<const uint8_t> into;
  if (!to_bytes(env, info[0], "into", into)) return env.Undefined();
  auto* data = info[0].As<Napi::Uint8Array>().Data();
  auto task = std::make_unique<FillTask>(env, *this, file_, std::span<uint8_t>(data, into.size()));
  task->keep(info.This().As<Napi::Object>());
  task->keep(info[0].As<Napi::Object>());
  return Task::start(std::move(task));
}

void ZstdFileBinding::close(const Napi::CallbackInfo&) { file_.reset(); }

}  // namespace romulus::binding
