/** JavaScript's `Encoder`: one encode at a time, one lasting Buffer per slab. */
#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "../engine/encoder.h"

namespace romulus::binding {

/** The engine's encoder and all it points to; shared with the encode in flight and with the slabs' Buffers. */
struct EncoderCore {
  EncoderCore(std::shared_ptr<Mapping> memory_in, std::shared_ptr<Mapping> shadow_in, uint32_t threads,
              uint64_t slab_bytes, uint32_t max_slabs)
      : memory(std::move(memory_in)),
        shadow(std::move(shadow_in)),
        slabs(slab_bytes, max_slabs),
        encoder(*memory, *shadow, threads, slabs) {}

  std::shared_ptr<Mapping> memory;
  std::shared_ptr<Mapping> shadow;
  SlabPool slabs;
  Encoder encoder;
};

class EncoderBinding : public Napi::ObjectWrap<EncoderBinding> {
 public:
  static Napi::FunctionReference define(Napi::Env env);
  static Napi::Value create(const Napi::CallbackInfo& info);

  explicit EncoderBinding(const Napi::CallbackInfo& info);

  /** The slab's Buffer, made on first use and the same ever after. */
  Napi::Value slab_buffer(Napi::Env env, uint32_t slab);
  void set_busy(bool busy) { busy_ = busy; }

 private:
  bool open(Napi::Env env) const;
  Napi::Value encode(const Napi::CallbackInfo& info);
  Napi::Value note_shadow(const Napi::CallbackInfo& info);
  Napi::Value index_bytes(const Napi::CallbackInfo& info);
  void release(const Napi::CallbackInfo& info);
  Napi::Value free_slabs(const Napi::CallbackInfo& info);
  Napi::Value digest(const Napi::CallbackInfo& info);
  void reset_digest(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);

  std::shared_ptr<EncoderCore> core_;
  std::vector<Napi::Reference<Napi::Buffer<uint8_t>>> buffers_;
  bool busy_ = false;
};

}  // namespace romulus::binding
