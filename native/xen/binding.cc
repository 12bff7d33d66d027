/** The addon's one class: a Domain whose calls are promises. native/xen/index.ts has its types and their meaning. */

#include <cstring>

#include "async.h"
#include "cpu_policy.h"
#include "domain.h"

namespace romulus::xen {
namespace {

template <typename T>
Napi::Buffer<uint8_t> buffer_of(Napi::Env env, const std::vector<T>& items) {
  return Napi::Buffer<uint8_t>::Copy(env, reinterpret_cast<const uint8_t*>(items.data()), items.size() * sizeof(T));
}

/** The body of the stream's X86_TSC_INFO record. */
std::vector<uint32_t> tsc_body(const TscInfo& tsc) {
  return {tsc.mode, tsc.khz, static_cast<uint32_t>(tsc.nsec), static_cast<uint32_t>(tsc.nsec >> 32), tsc.incarnation, 0};
}

Napi::Value state_of(Napi::Env env, DomainState& state) {
  std::vector<uint64_t> params;
  for (const auto& [index, value] : state.params) params.insert(params.end(), {index, value});
  Napi::Object object = Napi::Object::New(env);
  object.Set("context", buffer_of(env, state.context));
  object.Set("params", buffer_of(env, params));
  object.Set("tsc", buffer_of(env, tsc_body(state.tsc)));
  object.Set("absent", buffer_of(env, state.absent));
  return object;
}

Napi::Value info_of(Napi::Env env, xc_domaininfo_t& info) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("shutdown", is_shut_down(info) ? Napi::Number::New(env, shutdown_reason(info)) : env.Null());
  object.Set("paused", Napi::Boolean::New(env, (info.flags & XEN_DOMINF_paused) != 0));
  object.Set("memoryBytes", Napi::Number::New(env, static_cast<double>(info.tot_pages) * kPageBytes));
  return object;
}

class DomainBinding : public Napi::ObjectWrap<DomainBinding> {
 public:
  static Napi::FunctionReference constructor;

  static void define(Napi::Env env, Napi::Object exports) {
    Napi::Function type = DefineClass(env, "XenDomain",
                                      {
                                          InstanceMethod<&DomainBinding::halt>("halt"),
                                          InstanceMethod<&DomainBinding::model_store>("modelStore"),
                                          InstanceMethod<&DomainBinding::suspend>("suspend"),
                                          InstanceMethod<&DomainBinding::take_dirty>("takeDirty"),
                                          InstanceMethod<&DomainBinding::state>("state"),
                                          InstanceMethod<&DomainBinding::policies>("policies"),
                                          InstanceMethod<&DomainBinding::resume>("resume"),
                                          InstanceMethod<&DomainBinding::info>("info"),
                                          InstanceMethod<&DomainBinding::close>("close"),
                                          InstanceMethod<&DomainBinding::copy_by_mapping>("copyByMapping"),
                                          InstanceAccessor<&DomainBinding::standing>("standing"),
                                          InstanceAccessor<&DomainBinding::down_ms>("downMs"),
                                      });
    constructor = Napi::Persistent(type);
    constructor.SuppressDestruct();
    exports.Set("openDomain", Napi::Function::New(env, open));
  }

  explicit DomainBinding(const Napi::CallbackInfo& call) : ObjectWrap(call) {}

 private:
  static Napi::Value open(const Napi::CallbackInfo& call) {
    const uint32_t domid = call[0].As<Napi::Number>().Uint32Value();
    auto turn = std::make_shared<std::mutex>();
    return Task<std::shared_ptr<Domain>>::start(
        call.Env(), turn, Napi::Object(), [domid] { return std::make_shared<Domain>(domid); },
        [turn](Napi::Env env, std::shared_ptr<Domain>& domain) -> Napi::Value {
          Napi::Object object = constructor.New({});
          DomainBinding* binding = Unwrap(object);
          binding->domain_ = domain;
          binding->turn_ = turn;
          binding->describe(env, object);
          return object;
        });
  }

  void describe(Napi::Env env, Napi::Object object) const {
    Napi::Array regions = Napi::Array::New(env);
    for (const Region& region : domain_->layout().regions) {
      Napi::Object item = Napi::Object::New(env);
      item.Set("gfn", static_cast<double>(region.gfn));
      item.Set("page", static_cast<double>(region.page));
      item.Set("pages", static_cast<double>(region.pages));
      regions.Set(regions.Length(), item);
    }
    object.Set("regions", regions);
    object.Set("pages", static_cast<double>(domain_->layout().pages));
    object.Set("address", Napi::BigInt::New(env, reinterpret_cast<uint64_t>(domain_->map().base())));
    object.Set("cpus", domain_->cpus());
    object.Set("xenVersion", std::to_string(domain_->xen_version() >> 16) + "." + std::to_string(domain_->xen_version() & 0xffff));
  }

  template <typename Result, typename Work, typename Convert>
  Napi::Value run(const Napi::CallbackInfo& call, Work work, Convert convert) {
    if (domain_ == nullptr) throw Napi::Error::New(call.Env(), "this XenDomain is closed");
    return Task<Result>::start(call.Env(), turn_, Value(), [domain = domain_, work] { return work(*domain); }, convert);
  }
  /**
   * The same, at once and on this thread if the guest is suspended and no other call under way: what then takes microseconds
   * is not worth two changes of thread in the guest's pause.
   */
  template <typename Result, typename Work, typename Convert>
  Napi::Value run_in_pause(const Napi::CallbackInfo& call, Work work, Convert convert) {
    if (domain_ != nullptr) {
      const std::unique_lock lock(*turn_, std::try_to_lock);
      if (lock.owns_lock() && domain_->suspended()) {
        const Napi::Promise::Deferred deferred(call.Env());
        try {
          Result result = work(*domain_);
          deferred.Resolve(convert(call.Env(), result));
        } catch (const Error& error) {
          deferred.Reject(to_js(call.Env(), error.what(), error.code()).Value());
        }
        return deferred.Promise();
      }
    }
    return run<Result>(call, work, convert);
  }
  template <typename Work>
  Napi::Value run_void(const Napi::CallbackInfo& call, Work work) {
    return run<bool>(call, [work](Domain& domain) { return work(domain), true; },
                     [](Napi::Env env, bool&) { return env.Undefined(); });
  }

  Napi::Value halt(const Napi::CallbackInfo& call) {
    const int limit_ms = call[0].As<Napi::Number>().Int32Value();
    return run_void(call, [limit_ms](Domain& domain) { domain.halt(limit_ms); });
  }
  Napi::Value model_store(const Napi::CallbackInfo& call) {
    return run<std::string>(call, [](const Domain& domain) { return domain.model_store(); },
                            [](Napi::Env env, std::string& pairs) -> Napi::Value {
                              return Napi::Buffer<char>::Copy(env, pairs.data(), pairs.size());
                            });
  }
  Napi::Value suspend(const Napi::CallbackInfo& call) {
    const int limit_ms = call[0].As<Napi::Number>().Int32Value();
    return run_void(call, [limit_ms](Domain& domain) { domain.suspend(limit_ms); });
  }
  Napi::Value take_dirty(const Napi::CallbackInfo& call) {
    return run_in_pause<PageBits>(call, [](Domain& domain) { return domain.take_dirty(); },
                                  [](Napi::Env env, PageBits& bits) -> Napi::Value { return buffer_of(env, bits); });
  }
  Napi::Value state(const Napi::CallbackInfo& call) {
    return run_in_pause<DomainState>(call, [](Domain& domain) { return DomainState(domain.state()); }, state_of);
  }
  Napi::Value policies(const Napi::CallbackInfo& call) {
    return run<PolicyBlobs>(call, [](Domain& domain) { return domain.policies(); },
                            [](Napi::Env env, PolicyBlobs& blobs) -> Napi::Value {
                              Napi::Object object = Napi::Object::New(env);
                              object.Set("leaves", buffer_of(env, blobs.leaves));
                              object.Set("msrs", buffer_of(env, blobs.msrs));
                              return object;
                            });
  }
  Napi::Value resume(const Napi::CallbackInfo& call) {
    const auto work = [](Domain& domain) { return domain.resume(), true; };
    const auto convert = [](Napi::Env env, bool&) { return env.Undefined(); };
    // Where the guest balloons, its whole memory is unmapped too.
    return standing_now() ? run_in_pause<bool>(call, work, convert) : run<bool>(call, work, convert);
  }
  Napi::Value info(const Napi::CallbackInfo& call) {
    return run<xc_domaininfo_t>(call, [](Domain& domain) { return domain.info(); }, info_of);
  }
  Napi::Value copy_by_mapping(const Napi::CallbackInfo& call) {
    const auto buffer = call[0].As<Napi::Buffer<uint8_t>>();
    PageBits pages(buffer.Length() / sizeof(uint64_t));
    std::memcpy(pages.data(), buffer.Data(), pages.size() * sizeof(uint64_t));
    if (domain_ != nullptr && pages.size() * 64 != domain_->layout().pages)
      throw Napi::TypeError::New(call.Env(), "the bitmap has another number of pages than the domain");
    return run<uint64_t>(call, [pages](Domain& domain) { return domain.copy_by_mapping(pages); },
                         [](Napi::Env env, uint64_t& copied) -> Napi::Value {
                           return Napi::Number::New(env, static_cast<double>(copied));
                         });
  }
  Napi::Value down_ms(const Napi::CallbackInfo& call) {
    return Napi::Number::New(call.Env(), domain_ == nullptr ? 0 : domain_->down_ms());
  }
  Napi::Value standing(const Napi::CallbackInfo& call) {
    return Napi::Boolean::New(call.Env(), standing_now());
  }
  bool standing_now() const { return domain_ != nullptr && domain_->standing(); }

  // Waits for a call under way; the memory at `address` is gone afterwards.
  Napi::Value close(const Napi::CallbackInfo& call) {
    auto holder = std::make_shared<std::shared_ptr<Domain>>(std::move(domain_));
    domain_ = nullptr;
    auto turn = turn_ == nullptr ? std::make_shared<std::mutex>() : turn_;
    return Task<bool>::start(call.Env(), turn, Value(), [holder] { return holder->reset(), true; },
                             [](Napi::Env env, bool&) { return env.Undefined(); });
  }

  std::shared_ptr<Domain> domain_;
  std::shared_ptr<std::mutex> turn_;
};

Napi::FunctionReference DomainBinding::constructor;

std::vector<uint8_t> bytes_of(const Napi::Value& value) {
  const auto buffer = value.As<Napi::Buffer<uint8_t>>();
  return {buffer.Data(), buffer.Data() + buffer.Length()};
}

Napi::Value host_policy(const Napi::CallbackInfo& call) {
  PolicyBlobs guest{bytes_of(call[0]), bytes_of(call[1])};
  return Task<HostPolicy>::start(
      call.Env(), std::make_shared<std::mutex>(), Napi::Object(), [guest] { return host_policy_for(guest); },
      [](Napi::Env env, HostPolicy& found) -> Napi::Value {
        Napi::Object object = Napi::Object::New(env);
        object.Set("leaves", buffer_of(env, found.leaves));
        object.Set("takesGuest", Napi::Boolean::New(env, found.takes_guest));
        return object;
      });
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  DomainBinding::define(env, exports);
  exports.Set("hostPolicy", Napi::Function::New(env, host_policy));
  return exports;
}

NODE_API_MODULE(xen, init)

}  // namespace
}  // namespace romulus::xen
