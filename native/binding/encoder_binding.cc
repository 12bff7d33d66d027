/** Options are checked here; an encode of more than a few pages runs on libuv's pool and the engine's threads. */
#include "encoder_binding.h"

#include <cerrno>

#include "../engine/payload.h"
#include "../engine/pool.h"
#include "args.h"
#include "bitmap_binding.h"
#include "memory_binding.h"
#include "module.h"
#include "task.h"

namespace romulus::binding {
namespace {

constexpr uint64_t kDefaultSlabBytes = 1024 * 1024;
constexpr uint64_t kDefaultMaxSlabs = 64;
/** So few pages (a device state, an idle guest) are encoded sooner than another thread wakes. */
constexpr uint64_t kPagesAtOnce = 64;

class EncodeTask final : public Task {
 public:
  EncodeTask(Napi::Env env, EncoderBinding& binding, BitmapBinding& dirty, Bitmap& bitmap,
             std::shared_ptr<EncoderCore> core, Grain grain, bool copies)
      : Task(env), binding_(binding), dirty_(dirty), bitmap_(bitmap), core_(std::move(core)), grain_(grain), copies_(copies) {
    binding_.set_busy(true);
    dirty_.set_busy(true);
  }

 protected:
  Status run() noexcept override { return core_->encoder.encode(bitmap_, grain_, outcome_, copies_); }

  Napi::Value finish(Napi::Env env, const Status&) override {
    binding_.set_busy(false);
    dirty_.set_busy(false);
    auto chunks = Napi::Array::New(env, outcome_.chunks.size());
    for (uint32_t i = 0; i < outcome_.chunks.size(); i++) {
      const Chunk& from = outcome_.chunks[i];
      auto chunk = Napi::Object::New(env);
      chunk.Set("slab", number(env, from.slab));
      chunk.Set("buffer", binding_.slab_buffer(env, from.slab));
      chunk.Set("payloadBytes", number(env, from.payload_bytes));
      chunk.Set("crc32c", number(env, from.crc32c));
      chunk.Set("pages", number(env, from.pages));
      chunks.Set(i, chunk);
    }
    auto result = Napi::Object::New(env);
    result.Set("chunks", chunks);
    result.Set("complete", Napi::Boolean::New(env, outcome_.complete));
    result.Set("dirtyPages", number(env, outcome_.dirty_pages));
    result.Set("unchangedPages", number(env, outcome_.counts.unchanged_pages));
    result.Set("zeroPages", number(env, outcome_.counts.zero_pages));
    result.Set("wholePages", number(env, outcome_.counts.whole_pages));
    result.Set("deltaPages", number(env, outcome_.counts.delta_pages));
    result.Set("changedWords", number(env, outcome_.counts.changed_words));
    result.Set("payloadBytes", number(env, outcome_.payload_bytes));
    result.Set("copiedPages", number(env, outcome_.copies.pages));
    result.Set("copyRuns", number(env, outcome_.copies.runs));
    result.Set("copiedWords", number(env, outcome_.copies.words));
    result.Set("copiesNs", number(env, outcome_.copies.ns));
    result.Set("scanNs", number(env, outcome_.scan_ns));
    result.Set("encodeNs", number(env, outcome_.encode_ns));
    return result;
  }

 private:
  EncoderBinding& binding_;
  BitmapBinding& dirty_;
  Bitmap& bitmap_;
  std::shared_ptr<EncoderCore> core_;
  const Grain grain_;
  const bool copies_;
  EncodeOutcome outcome_;
};

class NoteTask final : public Task {
 public:
  NoteTask(Napi::Env env, EncoderBinding& binding, std::shared_ptr<EncoderCore> core, uint64_t pages)
      : Task(env), binding_(binding), core_(std::move(core)), pages_(pages) {
    binding_.set_busy(true);
  }

 protected:
  Status run() noexcept override {
    is_more_left_ = core_->encoder.note_shadow(pages_);
    return {};
  }

  Napi::Value finish(Napi::Env env, const Status&) override {
    binding_.set_busy(false);
    return Napi::Boolean::New(env, is_more_left_);
  }

 private:
  EncoderBinding& binding_;
  std::shared_ptr<EncoderCore> core_;
  const uint64_t pages_;
  bool is_more_left_ = false;
};

/** An optional number within bounds. */
bool option(Napi::Env env, const Napi::Object& options, const char* name, uint64_t least, uint64_t most, uint64_t& value) {
  const Napi::Value given = options.Get(name);
  if (!given.IsUndefined() && !to_uint(env, given, name, most, value)) return false;
  if (value >= least) return true;
  Napi::RangeError::New(env, std::string(name) + " must be at least " + std::to_string(least)).ThrowAsJavaScriptException();
  return false;
}

/** The shadow given, or one of no size where there is none; null with an exception pending if it is something else. */
std::shared_ptr<Mapping> to_shadow(Napi::Env env, const Napi::Value& given) {
  if (given.IsUndefined()) return std::make_shared<Mapping>();
  auto* binding = unwrap<MemoryBinding>(env, given, "shadow");
  return binding == nullptr ? nullptr : binding->mapping(env);
}

/** Words unless said otherwise; false with an exception pending if it is neither. */
bool to_grain(Napi::Env env, const Napi::Value& given, Grain& grain) {
  grain = Grain::words;
  if (given.IsUndefined()) return true;
  const std::string name = given.IsString() ? given.As<Napi::String>().Utf8Value() : "";
  if (name == "bytes") grain = Grain::bytes;
  if (name == "bytes" || name == "words") return true;
  Napi::TypeError::New(env, "grain must be 'words' or 'bytes'").ThrowAsJavaScriptException();
  return false;
}

}  // namespace

Napi::FunctionReference EncoderBinding::define(Napi::Env env) {
  return Napi::Persistent(DefineClass(env, "Encoder",
                                      {InstanceMethod<&EncoderBinding::encode>("encode"),
                                       InstanceMethod<&EncoderBinding::note_shadow>("noteShadow"),
                                       InstanceAccessor<&EncoderBinding::index_bytes>("indexBytes", napi_enumerable),
                                       InstanceMethod<&EncoderBinding::release>("release"),
                                       InstanceAccessor<&EncoderBinding::free_slabs>("freeSlabs", napi_enumerable),
                                       InstanceAccessor<&EncoderBinding::digest>("digest", napi_enumerable),
                                       InstanceMethod<&EncoderBinding::reset_digest>("resetDigest"),
                                       InstanceMethod<&EncoderBinding::close>("close")}));
}

Napi::Value EncoderBinding::create(const Napi::CallbackInfo& info) {
  return Module::of(info.Env()).encoder.New({info[0]});
}

EncoderBinding::EncoderBinding(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject()) {
    Napi::TypeError::New(env, "createEncoder(options)").ThrowAsJavaScriptException();
    return;
  }
  const auto options = info[0].As<Napi::Object>();
  auto* memory_binding = unwrap<MemoryBinding>(env, options.Get("memory"), "memory");
  const auto memory = memory_binding == nullptr ? nullptr : memory_binding->mapping(env);
  const auto shadow = memory == nullptr ? nullptr : to_shadow(env, options.Get("shadow"));
  uint64_t threads = 0;
  uint64_t slab_bytes = kDefaultSlabBytes;
  uint64_t max_slabs = kDefaultMaxSlabs;
  if (shadow == nullptr || !option(env, options, "threads", 1, kMaxThreads, threads) ||
      !option(env, options, "slabBytes", Encoder::kMinSlabBytes, kMaxPayloadBytes, slab_bytes) ||
      !option(env, options, "maxSlabs", 1, Encoder::kMaxSlabs, max_slabs)) {
    return;
  }
  if (shadow->bytes() > memory->bytes()) {
    throw_error(env, EINVAL, "the shadow is larger than the memory");
    return;
  }
  if (shadow->bytes() > 0 && !shadow->writable()) {
    throw_error(env, EACCES, "the shadow is mapped read-only");
    return;
  }
  auto core = std::make_shared<EncoderCore>(memory, shadow, static_cast<uint32_t>(threads), slab_bytes,
                                            static_cast<uint32_t>(max_slabs));
  if (const Status status = core->encoder.prepare(); !status.ok()) {
    make_error(env, status).ThrowAsJavaScriptException();
    return;
  }
  core_ = std::move(core);
  buffers_.resize(max_slabs);
}

Napi::Value EncoderBinding::slab_buffer(Napi::Env env, uint32_t slab) {
  if (buffers_.empty()) return env.Undefined();  // closed while the encode ran
  auto& reference = buffers_[slab];
  if (reference.IsEmpty()) {
    // The Buffer may outlive the encoder in somebody's hands; its finalizer holds the memory until then.
    auto* owner = new std::shared_ptr<EncoderCore>(core_);
    const auto buffer = Napi::Buffer<uint8_t>::New(
        env, core_->slabs.headroom(slab), SlabPool::kHeadroomBytes + core_->slabs.payload_bytes(),
        [](Napi::Env, uint8_t*, std::shared_ptr<EncoderCore>* held) { delete held; }, owner);
    reference = Napi::Persistent(buffer);
  }
  return reference.Value();
}

bool EncoderBinding::open(Napi::Env env) const {
  if (core_ == nullptr) throw_error(env, EBADF, "the encoder is closed");
  return core_ != nullptr;
}

Napi::Value EncoderBinding::encode(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (core_ == nullptr) return rejected(env, EBADF, "the encoder is closed");
  if (busy_) return rejected(env, EBUSY, "an encode is running");
  auto* dirty = unwrap<BitmapBinding>(env, info[0], "dirty");
  Bitmap* bitmap = dirty == nullptr ? nullptr : dirty->idle(env);
  if (bitmap == nullptr) return env.Undefined();
  if (bitmap->pages() != pages_in(core_->memory->bytes())) {
    return rejected(env, EINVAL, "the bitmap has another number of pages than the memory");
  }
  Grain grain;
  if (!to_grain(env, info[1], grain)) return env.Undefined();
  auto task = std::make_unique<EncodeTask>(env, *this, *dirty, *bitmap, core_, grain, info[2].ToBoolean());
  task->keep(info.This().As<Napi::Object>());
  task->keep(info[0].As<Napi::Object>());
  return bitmap->count() <= kPagesAtOnce ? Task::do_now(std::move(task)) : Task::start(std::move(task));
}

Napi::Value EncoderBinding::note_shadow(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (core_ == nullptr) return rejected(env, EBADF, "the encoder is closed");
  if (busy_) return rejected(env, EBUSY, "an encode is running");
  uint64_t pages = 0;
  if (!to_uint(env, info[0], "pages", kMaxPages, pages)) return env.Undefined();
  auto task = std::make_unique<NoteTask>(env, *this, core_, pages);
  task->keep(info.This().As<Napi::Object>());
  return Task::start(std::move(task));
}

Napi::Value EncoderBinding::index_bytes(const Napi::CallbackInfo& info) {
  return number(info.Env(), core_ == nullptr ? 0 : core_->encoder.index_bytes());
}

void EncoderBinding::release(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (core_ == nullptr) return;  // an ack may arrive after the end
  uint64_t slab = 0;
  if (!to_uint(env, info[0], "slab", core_->slabs.count() - 1, slab)) return;
  if (!core_->slabs.release(static_cast<uint32_t>(slab))) throw_error(env, EINVAL, "the slab was not taken");
}

Napi::Value EncoderBinding::free_slabs(const Napi::CallbackInfo& info) {
  return number(info.Env(), core_ == nullptr ? 0 : core_->slabs.free_count());
}

Napi::Value EncoderBinding::digest(const Napi::CallbackInfo& info) {
  if (!open(info.Env())) return info.Env().Undefined();
  return bigint(info.Env(), core_->encoder.digest());
}

void EncoderBinding::reset_digest(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!open(env)) return;
  if (!info[0].IsBigInt()) {
    Napi::TypeError::New(env, "digest must be a bigint").ThrowAsJavaScriptException();
    return;
  }
  bool lossless = false;
  core_->encoder.reset_digest(info[0].As<Napi::BigInt>().Uint64Value(&lossless));
}

void EncoderBinding::close(const Napi::CallbackInfo&) {
  core_.reset();
  buffers_.clear();
}

}  // namespace romulus::binding
