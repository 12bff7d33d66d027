/** Every call only takes the relay's lock for a moment, so all run on the calling thread. */
#include "gate_binding.h"

#include <linux/netlink.h>

#include <cerrno>

#include "../gate/netlink.h"
#include "../gate/packet.h"
#include "args.h"
#include "module.h"

namespace romulus::binding {
namespace {

constexpr uint64_t kMaxHeldBytes = uint64_t{1} << 34;
constexpr uint64_t kMaxHeldPackets = uint64_t{1} << 24;
constexpr double kNsPerMs = 1e6;

Napi::Value ms(Napi::Env env, uint64_t ns) { return Napi::Number::New(env, static_cast<double>(ns) / kNsPerMs); }

}  // namespace

Napi::FunctionReference RelayBinding::define(Napi::Env env) {
  return Napi::Persistent(DefineClass(
      env, "Relay",
      {InstanceMethod<&RelayBinding::connect>("connect"), InstanceMethod<&RelayBinding::seal>("seal"),
       InstanceMethod<&RelayBinding::release>("release"), InstanceMethod<&RelayBinding::open_fully>("open"),
       InstanceMethod<&RelayBinding::shut>("shut"), InstanceMethod<&RelayBinding::discard>("discard"),
       InstanceMethod<&RelayBinding::inject>("inject"), InstanceMethod<&RelayBinding::counts>("counts"),
       InstanceMethod<&RelayBinding::end>("end")}));
}

Napi::Value RelayBinding::open(const Napi::CallbackInfo& info) { return Module::of(info.Env()).relay.New({info[0]}); }

RelayBinding::RelayBinding(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject()) {
    Napi::TypeError::New(env, "options must be an object").ThrowAsJavaScriptException();
    return;
  }
  const auto options = info[0].As<Napi::Object>();
  const Napi::Value tap = options.Get("tap");
  const Napi::Value bridge = options.Get("bridge");
  const Napi::Value listener = options.Get("onEvent");
  if (!tap.IsString() || !(bridge.IsString() || bridge.IsUndefined()) || !listener.IsFunction()) {
    Napi::TypeError::New(env, "tap, bridge or onEvent is of the wrong type").ThrowAsJavaScriptException();
    return;
  }
  uint64_t bytes = 0;
  uint64_t packets = 0;
  if (!to_uint(env, options.Get("maxHeldBytes"), "maxHeldBytes", kMaxHeldBytes, bytes)) return;
  if (!to_uint(env, options.Get("maxHeldPackets"), "maxHeldPackets", kMaxHeldPackets, packets)) return;
  on_event_ = Napi::ThreadSafeFunction::New(env, listener.As<Napi::Function>(), "romulus-gate", 0, 1);
  on_event_.Unref(env);
  auto relay = std::make_unique<gate::Relay>(bytes, packets, [on_event = on_event_](gate::Relay::Event event) {
    const char* name = event == gate::Relay::Event::kPressure ? "pressure" : "disconnected";
    // A full or closing queue takes no event: the same is in counts().
    (void)on_event.NonBlockingCall([name](Napi::Env env, Napi::Function listener) {
      listener.Call({Napi::String::New(env, name)});
    });
  });
  const std::string bridge_name = bridge.IsString() ? bridge.As<Napi::String>().Utf8Value() : "";
  if (const Status status = relay->start(tap.As<Napi::String>(), bridge_name); !status.ok()) {
    on_event_.Release();
    make_error(env, status).ThrowAsJavaScriptException();
    return;
  }
  relay_ = std::move(relay);
}

void RelayBinding::connect(const Napi::CallbackInfo& info) {
  gate::Relay* relay = live(info.Env());
  if (relay == nullptr) return;
  if (!info[0].IsString()) {
    Napi::TypeError::New(info.Env(), "path must be a string").ThrowAsJavaScriptException();
    return;
  }
  const Status status = relay->connect(info[0].As<Napi::String>());
  if (!status.ok()) make_error(info.Env(), status).ThrowAsJavaScriptException();
}

void RelayBinding::seal(const Napi::CallbackInfo& info) {
  gate::Relay* relay = live(info.Env());
  uint64_t epoch = 0;
  if (relay == nullptr || !to_uint(info.Env(), info[0], "epoch", kMaxSafeInteger, epoch)) return;
  if (epoch == 0) return throw_error(info.Env(), EINVAL, "epochs count from 1");
  relay->seal(epoch);
}

void RelayBinding::release(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  gate::Relay* relay = live(env);
  uint64_t epoch = 0;
  if (relay == nullptr || !to_uint(env, info[0], "epoch", kMaxSafeInteger, epoch)) return;
  const double until_ms = info[1].ToNumber().DoubleValue();
  if (!(until_ms >= 0 && until_ms < 9e12)) return throw_error(env, EINVAL, "not a time of CLOCK_BOOTTIME in ms");
  relay->release(epoch, static_cast<uint64_t>(until_ms * kNsPerMs));
}

void RelayBinding::open_fully(const Napi::CallbackInfo& info) {
  if (gate::Relay* relay = live(info.Env())) relay->open();
}

void RelayBinding::shut(const Napi::CallbackInfo& info) {
  if (gate::Relay* relay = live(info.Env())) relay->shut();
}

void RelayBinding::discard(const Napi::CallbackInfo& info) {
  if (gate::Relay* relay = live(info.Env())) relay->discard();
}

void RelayBinding::inject(const Napi::CallbackInfo& info) {
  gate::Relay* relay = live(info.Env());
  std::span<const uint8_t> frame;
  if (relay == nullptr || !to_bytes(info.Env(), info[0], "frame", frame)) return;
  const Status status = relay->inject(frame);
  if (!status.ok()) make_error(info.Env(), status).ThrowAsJavaScriptException();
}

Napi::Value RelayBinding::counts(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  gate::Relay* relay = live(env);
  if (relay == nullptr) return env.Undefined();
  const gate::RelayCounts counts = relay->counts();
  auto result = Napi::Object::New(env);
  result.Set("heldPackets", number(env, counts.held_packets));
  result.Set("heldBytes", number(env, counts.held_bytes));
  result.Set("oldestHeldMs", ms(env, counts.oldest_held_ns));
  result.Set("outPackets", number(env, counts.out_packets));
  result.Set("outBytes", number(env, counts.out_bytes));
  result.Set("inPackets", number(env, counts.in_packets));
  result.Set("refusedPackets", number(env, counts.refused_packets));
  result.Set("releaseMs", ms(env, counts.release_ns));
  result.Set("connected", counts.connected);
  result.Set("open", counts.open);
  return result;
}

void RelayBinding::end(const Napi::CallbackInfo&) {
  if (relay_ == nullptr) return;
  relay_.reset();
  on_event_.Release();
}

gate::Relay* RelayBinding::live(Napi::Env env) {
  if (relay_ == nullptr) throw_error(env, EBADF, "the relay has ended");
  return relay_.get();
}

Napi::Value netlink_request(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::span<const uint8_t> request;
  if (!to_bytes(env, info[0], "request", request)) return env.Undefined();
  uint64_t until_ns = ~uint64_t{0};
  if (info[1].IsNumber()) {
    const double until_ms = info[1].As<Napi::Number>();
    until_ns = until_ms <= 0 ? 0 : static_cast<uint64_t>(std::fmin(until_ms, 9e12) * kNsPerMs);
  }
  const int protocol = info[2].IsNumber() ? info[2].As<Napi::Number>().Int32Value() : NETLINK_ROUTE;
  uint8_t answer[gate::kAnswerBytes];
  size_t bytes = 0;
  if (const Status status = gate::netlink_request(protocol, request, until_ns, answer, bytes); !status.ok()) {
    make_error(env, status).ThrowAsJavaScriptException();
    return env.Undefined();
  }
  return Napi::Buffer<uint8_t>::Copy(env, answer, bytes);
}

Napi::Value send_frame(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::span<const uint8_t> frame;
  if (!to_bytes(env, info[1], "frame", frame)) return env.Undefined();
  const Status status = gate::send_frame(info[0].ToString().Utf8Value(), frame);
  if (!status.ok()) make_error(env, status).ThrowAsJavaScriptException();
  return env.Undefined();
}

Napi::Value boot_time_ms(const Napi::CallbackInfo& info) { return ms(info.Env(), gate::boot_ns()); }

}  // namespace romulus::binding
