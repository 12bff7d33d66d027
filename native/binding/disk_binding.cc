/** Whatever may wait for the image runs on libuv's pool; the rest takes the disk's lock for a moment. */
#include "disk_binding.h"

#include <cerrno>
#include <functional>
#include <string>

#include "../disk/nbd_client.h"
#include "../engine/clock.h"
#include "../engine/crc32c.h"
#include "args.h"
#include "module.h"
#include "task.h"

namespace romulus::binding {
namespace {

constexpr uint64_t kSlabBytes = 1024 * 1024;
constexpr uint64_t kMostSlabs = 1024;
constexpr uint64_t kMostBytes = uint64_t{1} << 40;

/** Work whose result is nothing. */
class DiskTask final : public Task {
 public:
  DiskTask(Napi::Env env, std::shared_ptr<DiskCore> core, std::function<Status(DiskCore&)> work)
      : Task(env), core_(std::move(core)), work_(std::move(work)) {}

 protected:
  Status run() noexcept override { return work_(*core_); }
  Napi::Value finish(Napi::Env env, const Status&) override { return env.Undefined(); }

 private:
  const std::shared_ptr<DiskCore> core_;
  const std::function<Status(DiskCore&)> work_;
};

/** An optional integer property. */
bool option(Napi::Env env, const Napi::Object& options, const char* name, uint64_t most, uint64_t& value) {
  const Napi::Value given = options.Get(name);
  return given.IsUndefined() || to_uint(env, given, name, most, value);
}

bool to_payloads(Napi::Env env, const Napi::Value& value, std::vector<std::span<const uint8_t>>& out) {
  if (!value.IsArray()) {
    Napi::TypeError::New(env, "payloads must be an array").ThrowAsJavaScriptException();
    return false;
  }
  const auto list = value.As<Napi::Array>();
  out.resize(list.Length());
  for (uint32_t i = 0; i < list.Length(); i++) {
    if (!to_bytes(env, list.Get(i), "payload", out[i])) return false;
  }
  return true;
}

}  // namespace

/** As many payloads of the sealed epoch as there are slabs free. */
class TakeTask final : public Task {
 public:
  TakeTask(Napi::Env env, DiskBinding& binding, std::shared_ptr<DiskCore> core) : Task(env), binding_(binding), core_(std::move(core)) {}

 protected:
  struct Taken {
    uint32_t slab;
    size_t bytes;
    uint32_t crc32c;
  };

  Status run() noexcept override {
    for (;;) {
      const uint32_t slab = core_->slabs.take();
      if (slab == SlabPool::kNone) return {};
      size_t bytes = 0;
      const std::span<uint8_t> payload(core_->slabs.payload(slab), core_->slabs.payload_bytes());
      const Status status = core_->disk.changes().take(payload, bytes);
      if (!status.ok() || bytes == 0) {
        core_->slabs.release(slab);
        complete_ = status.ok();
        if (!status.ok()) give_back();
        return status;
      }
      taken_.push_back({slab, bytes, romulus::crc32c(payload.first(bytes))});
    }
  }

  Napi::Value finish(Napi::Env env, const Status&) override {
    binding_.taking_ = false;
    auto chunks = Napi::Array::New(env, taken_.size());
    for (uint32_t i = 0; i < taken_.size(); i++) {
      auto chunk = Napi::Object::New(env);
      chunk.Set("slab", number(env, taken_[i].slab));
      chunk.Set("buffer", binding_.slab_buffer(env, taken_[i].slab));
      chunk.Set("payloadBytes", number(env, taken_[i].bytes));
      chunk.Set("crc32c", number(env, taken_[i].crc32c));
      chunks.Set(i, chunk);
    }
    auto result = Napi::Object::New(env);
    result.Set("chunks", chunks);
    result.Set("complete", Napi::Boolean::New(env, complete_));
    return result;
  }

 private:
  void give_back() noexcept {
    for (const Taken& taken : taken_) core_->slabs.release(taken.slab);
    taken_.clear();
  }

  DiskBinding& binding_;
  const std::shared_ptr<DiskCore> core_;
  std::vector<Taken> taken_;
  bool complete_ = false;
};

Napi::FunctionReference DiskBinding::define(Napi::Env env) {
  return Napi::Persistent(DefineClass(
      env, "Disk",
      {InstanceAccessor<&DiskBinding::size_bytes>("sizeBytes", napi_enumerable), InstanceMethod<&DiskBinding::serve>("serve"),
       InstanceMethod<&DiskBinding::set_writable>("setWritable"), InstanceMethod<&DiskBinding::seal>("seal"),
       InstanceMethod<&DiskBinding::take>("take"), InstanceMethod<&DiskBinding::release>("release"),
       InstanceMethod<&DiskBinding::commit>("commit"), InstanceMethod<&DiskBinding::give_up>("giveUp"),
       InstanceMethod<&DiskBinding::begin_copy>("beginCopy"), InstanceMethod<&DiskBinding::set_paced>("setPaced"),
       InstanceMethod<&DiskBinding::expect>("expect"), InstanceMethod<&DiskBinding::apply>("apply"),
       InstanceMethod<&DiskBinding::flush>("flush"), InstanceMethod<&DiskBinding::rest>("rest"),
       InstanceMethod<&DiskBinding::dirty_bits>("dirtyBits"), InstanceMethod<&DiskBinding::merge_dirty>("mergeDirty"),
       InstanceMethod<&DiskBinding::mark_all_dirty>("markAllDirty"), InstanceMethod<&DiskBinding::clear_dirty>("clearDirty"),
       InstanceMethod<&DiskBinding::pair>("pair"), InstanceMethod<&DiskBinding::set_pair>("setPair"),
       InstanceMethod<&DiskBinding::counts>("counts"), InstanceMethod<&DiskBinding::end>("end")}));
}

Napi::Value DiskBinding::open(const Napi::CallbackInfo& info) { return Module::of(info.Env()).disk.New({info[0]}); }

DiskBinding::DiskBinding(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject()) {
    Napi::TypeError::New(env, "options must be an object").ThrowAsJavaScriptException();
    return;
  }
  const auto options = info[0].As<Napi::Object>();
  const Napi::Value path = options.Get("path");
  const Napi::Value map = options.Get("mapPath");
  const Napi::Value listener = options.Get("onPressure");
  if (!path.IsString() || !map.IsString() || !listener.IsFunction()) {
    Napi::TypeError::New(env, "path, mapPath or onPressure is of the wrong type").ThrowAsJavaScriptException();
    return;
  }
  disk::ChangesLimits limits;
  uint64_t create_bytes = 0;
  uint64_t max_slabs = 32;
  if (!option(env, options, "createBytes", disk::kMaxDiskBytes, create_bytes) ||
      !option(env, options, "maxSlabs", kMostSlabs, max_slabs) ||
      !option(env, options, "preservedBytes", kMostBytes, limits.preserved_bytes) ||
      !option(env, options, "runningBytes", kMostBytes, limits.running_bytes)) {
    return;
  }
  on_pressure_ = Napi::ThreadSafeFunction::New(env, listener.As<Napi::Function>(), "romulus-disk", 0, 1);
  on_pressure_.Unref(env);
  auto on_pressure = [listener = on_pressure_] {
    // A full or closing queue takes no call: the next write of the epoch tells again.
    (void)listener.NonBlockingCall([](Napi::Env, Napi::Function function) { function.Call({}); });
  };
  auto core = std::make_shared<DiskCore>(limits, std::move(on_pressure), kSlabBytes, static_cast<uint32_t>(max_slabs));
  const std::string image_path = path.As<Napi::String>();
  const std::string map_path = map.As<Napi::String>();
  if (const Status status = core->disk.open(image_path.c_str(), map_path.c_str(), create_bytes); !status.ok()) {
    on_pressure_.Release();
    make_error(env, status).ThrowAsJavaScriptException();
    return;
  }
  core_ = std::move(core);
  buffers_.resize(max_slabs);
}

DiskCore* DiskBinding::live(Napi::Env env) {
  if (core_ == nullptr) throw_error(env, EBADF, "the disk is closed");
  return core_.get();
}

Napi::Value DiskBinding::size_bytes(const Napi::CallbackInfo& info) {
  DiskCore* core = live(info.Env());
  return core == nullptr ? info.Env().Undefined() : number(info.Env(), core->disk.bytes());
}

void DiskBinding::serve(const Napi::CallbackInfo& info) {
  DiskCore* core = live(info.Env());
  if (core == nullptr) return;
  if (!info[0].IsString() || !info[1].IsString()) {
    Napi::TypeError::New(info.Env(), "path and name must be strings").ThrowAsJavaScriptException();
    return;
  }
  const Status status = core->server.listen(info[0].As<Napi::String>(), info[1].As<Napi::String>());
  if (!status.ok()) make_error(info.Env(), status).ThrowAsJavaScriptException();
}

void DiskBinding::set_writable(const Napi::CallbackInfo& info) {
  if (DiskCore* core = live(info.Env())) core->disk.set_writable(info[0].ToBoolean());
}

void DiskBinding::seal(const Napi::CallbackInfo& info) {
  DiskCore* core = live(info.Env());
  uint64_t epoch = 0;
  if (core == nullptr || !to_uint(info.Env(), info[0], "epoch", kMaxSafeInteger, epoch)) return;
  core->disk.changes().seal(epoch);
}

Napi::Value DiskBinding::take(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (core_ == nullptr) return rejected(env, EBADF, "the disk is closed");
  if (taking_) return rejected(env, EBUSY, "an epoch is being taken");
  taking_ = true;
  auto task = std::make_unique<TakeTask>(env, *this, core_);
  task->keep(info.This().As<Napi::Object>());
  return Task::start(std::move(task));
}

Napi::Value DiskBinding::slab_buffer(Napi::Env env, uint32_t slab) {
  if (buffers_.empty()) return env.Undefined();  // closed meanwhile
  auto& reference = buffers_[slab];
  if (reference.IsEmpty()) {
    // The Buffer may outlive the disk in somebody's hands; its finalizer holds the memory until then.
    auto* owner = new std::shared_ptr<DiskCore>(core_);
    const auto buffer = Napi::Buffer<uint8_t>::New(
        env, core_->slabs.headroom(slab), SlabPool::kHeadroomBytes + core_->slabs.payload_bytes(),
        [](Napi::Env, uint8_t*, std::shared_ptr<DiskCore>* held) { delete held; }, owner);
    reference = Napi::Persistent(buffer);
  }
  return reference.Value();
}

void DiskBinding::release(const Napi::CallbackInfo& info) {
  if (core_ == nullptr) return;  // an ack may arrive after the end
  uint64_t slab = 0;
  if (!to_uint(info.Env(), info[0], "slab", core_->slabs.count() - 1, slab)) return;
  if (!core_->slabs.release(static_cast<uint32_t>(slab))) throw_error(info.Env(), EINVAL, "the slab was not taken");
}

void DiskBinding::commit(const Napi::CallbackInfo& info) {
  DiskCore* core = live(info.Env());
  uint64_t epoch = 0;
  if (core == nullptr || !to_uint(info.Env(), info[0], "epoch", kMaxSafeInteger, epoch)) return;
  core->disk.changes().commit(epoch);
}

void DiskBinding::give_up(const Napi::CallbackInfo& info) {
  if (DiskCore* core = live(info.Env())) core->disk.changes().give_up();
}

void DiskBinding::begin_copy(const Napi::CallbackInfo& info) {
  if (DiskCore* core = live(info.Env())) core->disk.changes().begin_copy(info[0].ToBoolean());
}

void DiskBinding::set_paced(const Napi::CallbackInfo& info) {
  if (DiskCore* core = live(info.Env())) core->disk.changes().set_paced(info[0].ToBoolean());
}

Napi::Value DiskBinding::expect(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (core_ == nullptr) return rejected(env, EBADF, "the disk is closed");
  std::span<const uint8_t> payload;
  if (!to_bytes(env, info[0], "payload", payload)) return env.Undefined();
  auto task = std::make_unique<DiskTask>(env, core_, [payload](DiskCore& core) { return core.disk.expect(payload); });
  task->keep(info[0].As<Napi::Object>());
  return Task::start(std::move(task));
}

Napi::Value DiskBinding::apply(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (core_ == nullptr) return rejected(env, EBADF, "the disk is closed");
  std::vector<std::span<const uint8_t>> payloads;
  if (!to_payloads(env, info[0], payloads)) return env.Undefined();
  auto task = std::make_unique<DiskTask>(env, core_, [payloads](DiskCore& core) -> Status {
    for (const auto payload : payloads) {
      if (const Status status = core.disk.apply(payload); !status.ok()) return status;
    }
    return {};
  });
  task->keep(info[0].As<Napi::Object>());
  return Task::start(std::move(task));
}

Napi::Value DiskBinding::flush(const Napi::CallbackInfo& info) {
  if (core_ == nullptr) return rejected(info.Env(), EBADF, "the disk is closed");
  return Task::start(std::make_unique<DiskTask>(info.Env(), core_, [](DiskCore& core) { return core.disk.flush(); }));
}

Napi::Value DiskBinding::rest(const Napi::CallbackInfo& info) {
  if (core_ == nullptr) return rejected(info.Env(), EBADF, "the disk is closed");
  return Task::start(std::make_unique<DiskTask>(info.Env(), core_, [](DiskCore& core) { return core.disk.rest(); }));
}

Napi::Value DiskBinding::dirty_bits(const Napi::CallbackInfo& info) {
  DiskCore* core = live(info.Env());
  if (core == nullptr) return info.Env().Undefined();
  const std::vector<uint8_t> bits = core->disk.map().bits();
  return Napi::Buffer<uint8_t>::Copy(info.Env(), bits.data(), bits.size());
}

void DiskBinding::merge_dirty(const Napi::CallbackInfo& info) {
  DiskCore* core = live(info.Env());
  std::span<const uint8_t> bits;
  if (core == nullptr || !to_bytes(info.Env(), info[0], "bits", bits)) return;
  const Status status = core->disk.map().merge(bits);
  if (!status.ok()) make_error(info.Env(), status).ThrowAsJavaScriptException();
}

void DiskBinding::mark_all_dirty(const Napi::CallbackInfo& info) {
  if (DiskCore* core = live(info.Env())) core->disk.map().mark_all();
}

void DiskBinding::clear_dirty(const Napi::CallbackInfo& info) {
  DiskCore* core = live(info.Env());
  if (core == nullptr) return;
  if (info[0].IsUndefined()) return core->disk.map().clear(0, core->disk.map().blocks());
  std::vector<std::span<const uint8_t>> payloads;
  if (!to_payloads(info.Env(), info[0], payloads)) return;
  for (const auto payload : payloads) core->disk.settle(payload);
}

Napi::Value DiskBinding::pair(const Napi::CallbackInfo& info) {
  DiskCore* core = live(info.Env());
  return core == nullptr ? info.Env().Undefined() : Napi::String::New(info.Env(), core->disk.map().pair());
}

void DiskBinding::set_pair(const Napi::CallbackInfo& info) {
  DiskCore* core = live(info.Env());
  if (core == nullptr) return;
  if (!info[0].IsString()) {
    Napi::TypeError::New(info.Env(), "pair must be a string").ThrowAsJavaScriptException();
    return;
  }
  const Status status = core->disk.map().set_pair(info[0].As<Napi::String>());
  if (!status.ok()) make_error(info.Env(), status).ThrowAsJavaScriptException();
}

Napi::Value DiskBinding::counts(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  DiskCore* core = live(env);
  if (core == nullptr) return env.Undefined();
  const disk::DiskCounts counts = core->disk.counts();
  auto result = Napi::Object::New(env);
  result.Set("reads", number(env, counts.reads));
  result.Set("writes", number(env, counts.writes));
  result.Set("flushes", number(env, counts.flushes));
  result.Set("readBytes", number(env, counts.read_bytes));
  result.Set("writtenBytes", number(env, counts.written_bytes));
  result.Set("refused", number(env, counts.refused));
  result.Set("runningBytes", number(env, core->disk.changes().running_bytes()));
  result.Set("sealedBytes", number(env, core->disk.changes().sealed_bytes()));
  result.Set("preservedBytes", number(env, core->disk.changes().preserved_bytes()));
  result.Set("dirtyBytes", number(env, core->disk.map().count() * core->disk.map().block_bytes()));
  result.Set("connections", number(env, core->server.connections()));
  return result;
}

void DiskBinding::end(const Napi::CallbackInfo&) {
  if (core_ == nullptr) return;
  core_->disk.changes().give_up();  // which wakes writes that wait for an epoch to be taken
  core_->server.end();
  core_.reset();
  buffers_.clear();
  on_pressure_.Release();
}

Napi::Value connect_nbd(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  disk::nbd::Export found;
  const Status status = disk::nbd::connect(info[0].ToString().Utf8Value(), info[1].ToString().Utf8Value(), found);
  if (!status.ok()) {
    make_error(env, status).ThrowAsJavaScriptException();
    return env.Undefined();
  }
  auto result = Napi::Object::New(env);
  result.Set("fd", Napi::Number::New(env, found.fd));
  result.Set("sizeBytes", number(env, found.disk_bytes));
  result.Set("flags", Napi::Number::New(env, found.flags));
  return result;
}

}  // namespace romulus::binding
