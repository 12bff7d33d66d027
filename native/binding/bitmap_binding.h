/** JavaScript's `DirtyBitmap`; while an encode takes its bits, every other use throws EBUSY instead of racing. */
#pragma once

#include <napi.h>

#include "../engine/bitmap.h"

namespace romulus::binding {

class BitmapBinding : public Napi::ObjectWrap<BitmapBinding> {
 public:
  static constexpr napi_type_tag kTag = {0x1c2d3e4f50617283, 0x94a5b6c7d8e9fa0b};
  static constexpr const char* kName = "DirtyBitmap";
  static Napi::FunctionReference define(Napi::Env env);
  static Napi::Value create(const Napi::CallbackInfo& info);

  explicit BitmapBinding(const Napi::CallbackInfo& info);

  /** Null after throwing, if an encode has it. */
  Bitmap* idle(Napi::Env env);
  void set_busy(bool busy) { busy_ = busy; }

 private:
  Napi::Value pages(const Napi::CallbackInfo& info);
  void set(const Napi::CallbackInfo& info);
  void set_all(const Napi::CallbackInfo& info);
  void clear(const Napi::CallbackInfo& info);
  Napi::Value count(const Napi::CallbackInfo& info);
  void merge(const Napi::CallbackInfo& info);
  Napi::Value test(const Napi::CallbackInfo& info);
  Napi::Value runs(const Napi::CallbackInfo& info);
  void load(const Napi::CallbackInfo& info);

  Bitmap bitmap_;
  bool busy_ = false;
};

}  // namespace romulus::binding
