/** Both buffers are held by reference while a pool thread works on them; the engine knows the length of neither but these. */
#include "zstd_binding.h"

#include <cerrno>
#include <span>

#include "../engine/clock.h"
#include "../engine/zstd_codec.h"
#include "args.h"
#include "task.h"

namespace romulus::binding {
namespace {

class CodecTask final : public Task {
 public:
  CodecTask(Napi::Env env, std::span<const uint8_t> from, std::span<uint8_t> to, bool decode, CompressOptions options)
      : Task(env), from_(from), to_(to), decode_(decode), options_(options) {}

 protected:
  Status run() noexcept override {
    if (decode_) return romulus::decompress(from_, to_, written_);
    const uint64_t start = now_ns();
    const uint64_t cpu_start = thread_cpu_ns();
    const Status status = romulus::compress(from_, to_, options_, written_);
    cpu_ns_ = thread_cpu_ns() - cpu_start;
    wall_ns_ = now_ns() - start;
    return status;
  }
  Napi::Value finish(Napi::Env env, const Status&) override {
    if (decode_) return number(env, written_);
    auto result = Napi::Object::New(env);
    result.Set("bytes", number(env, written_));
    result.Set("cpuNs", number(env, cpu_ns_));
    result.Set("wallNs", number(env, wall_ns_));
    return result;
  }

 private:
  const std::span<const uint8_t> from_;
  const std::span<uint8_t> to_;
  const bool decode_;
  const CompressOptions options_;
  uint64_t written_ = 0;
  uint64_t cpu_ns_ = 0;
  uint64_t wall_ns_ = 0;
};

Napi::Value start(const Napi::CallbackInfo& info, bool decode, CompressOptions options) {
  const Napi::Env env = info.Env();
  std::span<const uint8_t> from;
  std::span<const uint8_t> target;
  if (!to_bytes(env, info[0], "payload", from) || !to_bytes(env, info[1], "target", target)) return env.Undefined();
  auto* to = info[1].As<Napi::Uint8Array>().Data();
  auto task = std::make_unique<CodecTask>(env, from, std::span<uint8_t>(to, target.size()), decode, options);
  task->keep(info[0].As<Napi::Object>());
  task->keep(info[1].As<Napi::Object>());
  return Task::start(std::move(task));
}

}  // namespace

Napi::Value compress(const Napi::CallbackInfo& info) {
  CompressOptions options;
  if (info[2].IsObject()) {
    const auto given = info[2].As<Napi::Object>();
    if (given.Get("level").IsNumber()) options.level = given.Get("level").As<Napi::Number>().Int32Value();
    options.long_window = flag(given, "longWindow");
  }
  return start(info, false, options);
}

Napi::Value decompress(const Napi::CallbackInfo& info) { return start(info, true, {}); }

}  // namespace romulus::binding
