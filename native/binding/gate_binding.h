/** JavaScript's `Relay`. */
#pragma once

#include <napi.h>

#include <memory>

#include "../gate/relay.h"

namespace romulus::binding {

class RelayBinding : public Napi::ObjectWrap<RelayBinding> {
 public:
  static Napi::FunctionReference define(Napi::Env env);
  static Napi::Value open(const Napi::CallbackInfo& info);

  explicit RelayBinding(const Napi::CallbackInfo& info);

 private:
  void connect(const Napi::CallbackInfo& info);
  void seal(const Napi::CallbackInfo& info);
  void release(const Napi::CallbackInfo& info);
  void open_fully(const Napi::CallbackInfo& info);
  void shut(const Napi::CallbackInfo& info);
  void discard(const Napi::CallbackInfo& info);
  void inject(const Napi::CallbackInfo& info);
  Napi::Value counts(const Napi::CallbackInfo& info);
  void end(const Napi::CallbackInfo& info);
  gate::Relay* live(Napi::Env env);

  std::unique_ptr<gate::Relay> relay_;
  Napi::ThreadSafeFunction on_event_;
};

/** One netlink request, to rtnetlink unless another protocol is named; returns the first answer's bytes. */
Napi::Value netlink_request(const Napi::CallbackInfo& info);

/** Sends a frame from an interface. */
Napi::Value send_frame(const Napi::CallbackInfo& info);

/** CLOCK_BOOTTIME in milliseconds. */
Napi::Value boot_time_ms(const Napi::CallbackInfo& info);

}  // namespace romulus::binding
