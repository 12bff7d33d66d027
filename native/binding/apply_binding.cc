/** Payload buffers are held by reference while they are applied; they are not copied. */
#include "apply_binding.h"

#include <cerrno>
#include <vector>

#include "../engine/apply.h"
#include "../engine/crc32c.h"
#include "../engine/payload.h"
#include "../engine/pool.h"
#include "args.h"
#include "memory_binding.h"
#include "task.h"

namespace romulus::binding {
namespace {

/** So much is applied sooner than another thread wakes, unless it is nothing but pages that became zero. */
constexpr uint64_t kBytesAtOnce = 4096;

class ApplyTask final : public Task {
 public:
  ApplyTask(Napi::Env env, std::shared_ptr<Mapping> image, uint32_t threads)
      : Task(env), image_(std::move(image)), threads_(threads) {}

  void add(const Napi::Object& buffer, std::span<const uint8_t> payload) {
    keep(buffer);
    payloads_.push_back(payload);
    bytes_ += payload.size();
  }

  /** A few bytes of copies may stand for many pages. */
  bool small() const noexcept { return bytes_ <= kBytesAtOnce && !has_copies(payloads_); }

 protected:
  Status run() noexcept override { return romulus::apply_epoch(*image_, payloads_, threads_, outcome_); }

  Napi::Value finish(Napi::Env env, const Status&) override {
    auto result = Napi::Object::New(env);
    result.Set("pages", number(env, outcome_.pages));
    result.Set("digestDelta", bigint(env, outcome_.digest_change));
    result.Set("applyNs", number(env, outcome_.apply_ns));
    return result;
  }

 private:
  std::shared_ptr<Mapping> image_;
  const uint32_t threads_;
  std::vector<std::span<const uint8_t>> payloads_;
  uint64_t bytes_ = 0;
  ApplyOutcome outcome_;
};

class DigestTask final : public Task {
 public:
  DigestTask(Napi::Env env, std::shared_ptr<Mapping> range, uint32_t threads)
      : Task(env), range_(std::move(range)), threads_(threads) {}

 protected:
  Status run() noexcept override {
    digest_ = romulus::digest_of(*range_, threads_);
    return {};
  }
  Napi::Value finish(Napi::Env env, const Status&) override { return bigint(env, digest_); }

 private:
  std::shared_ptr<Mapping> range_;
  const uint32_t threads_;
  uint64_t digest_ = 0;
};

bool to_threads(Napi::Env env, const Napi::Value& value, uint32_t& threads) {
  uint64_t count = 0;
  if (!to_uint(env, value, "threads", kMaxThreads, count)) return false;
  threads = count == 0 ? 1 : static_cast<uint32_t>(count);
  return true;
}

std::shared_ptr<Mapping> to_mapping(Napi::Env env, const Napi::Value& value) {
  auto* memory = unwrap<MemoryBinding>(env, value, "memory");
  return memory == nullptr ? nullptr : memory->mapping(env);
}

}  // namespace

Napi::Value check_payload(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::span<const uint8_t> payload;
  uint64_t pages = 0;
  if (!to_bytes(env, info[0], "payload", payload) || !to_uint(env, info[1], "pages", kMaxPages, pages)) {
    return env.Undefined();
  }
  uint64_t named = 0;
  if (const Status status = romulus::check_chunk(payload, pages, named); !status.ok()) {
    make_error(env, status).ThrowAsJavaScriptException();
    return env.Undefined();
  }
  return number(env, named);
}

Napi::Value reserve_payload(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto image = to_mapping(env, info[0]);
  std::span<const uint8_t> payload;
  if (image == nullptr || !to_bytes(env, info[1], "payload", payload)) return env.Undefined();
  uint64_t named = 0;
  Status status = romulus::check_chunk(payload, pages_in(image->bytes()), named);
  if (status.ok()) status = romulus::reserve_chunk(*image, payload);
  if (!status.ok()) {
    make_error(env, status).ThrowAsJavaScriptException();
    return env.Undefined();
  }
  return number(env, named);
}

Napi::Value check_epoch(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsArray()) {
    Napi::TypeError::New(env, "payloads must be an array").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  const auto given = info[0].As<Napi::Array>();
  std::vector<std::span<const uint8_t>> payloads(given.Length());
  for (uint32_t i = 0; i < given.Length(); i++) {
    if (!to_bytes(env, given.Get(i), "payload", payloads[i])) return env.Undefined();
  }
  if (const Status status = romulus::check_epoch(payloads); !status.ok()) make_error(env, status).ThrowAsJavaScriptException();
  return env.Undefined();
}

Napi::Value apply_payloads(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto image = to_mapping(env, info[0]);
  uint32_t threads = 1;
  if (image == nullptr || !to_threads(env, info[2], threads)) return env.Undefined();
  if (!info[1].IsArray()) {
    Napi::TypeError::New(env, "payloads must be an array").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  auto task = std::make_unique<ApplyTask>(env, image, threads);
  const auto payloads = info[1].As<Napi::Array>();
  for (uint32_t i = 0; i < payloads.Length(); i++) {
    const Napi::Value buffer = payloads.Get(i);
    std::span<const uint8_t> payload;
    if (!to_bytes(env, buffer, "payload", payload)) return env.Undefined();
    task->add(buffer.As<Napi::Object>(), payload);
  }
  return task->small() ? Task::do_now(std::move(task)) : Task::start(std::move(task));
}

Napi::Value digest_of(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto range = to_mapping(env, info[0]);
  uint32_t threads = 1;
  if (range == nullptr || !to_threads(env, info[1], threads)) return env.Undefined();
  return Task::start(std::make_unique<DigestTask>(env, range, threads));
}

Napi::Value crc32c(const Napi::CallbackInfo& info) {
  std::span<const uint8_t> data;
  if (!to_bytes(info.Env(), info[0], "data", data)) return info.Env().Undefined();
  return number(info.Env(), romulus::crc32c(data));
}

}  // namespace romulus::binding
