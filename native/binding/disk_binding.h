/** JavaScript's `Disk`. */
#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "../disk/disk.h"
#include "../disk/nbd_server.h"
#include "../engine/slabs.h"

namespace romulus::binding {

/** What threads of the pool share with the JavaScript object, which may be ended before them. */
struct DiskCore {
  DiskCore(disk::ChangesLimits limits, std::function<void()> on_pressure, uint64_t slab_bytes, uint32_t max_slabs)
      : disk(limits, std::move(on_pressure)), server(disk), slabs(slab_bytes, max_slabs) {}

  disk::Disk disk;
  disk::nbd::Server server;
  SlabPool slabs;
};

class DiskBinding : public Napi::ObjectWrap<DiskBinding> {
 public:
  static Napi::FunctionReference define(Napi::Env env);
  static Napi::Value open(const Napi::CallbackInfo& info);

  explicit DiskBinding(const Napi::CallbackInfo& info);

 private:
  friend class TakeTask;
  Napi::Value size_bytes(const Napi::CallbackInfo& info);
  void serve(const Napi::CallbackInfo& info);
  void set_writable(const Napi::CallbackInfo& info);
  void seal(const Napi::CallbackInfo& info);
  Napi::Value take(const Napi::CallbackInfo& info);
  void release(const Napi::CallbackInfo& info);
  void commit(const Napi::CallbackInfo& info);
  void give_up(const Napi::CallbackInfo& info);
  void begin_copy(const Napi::CallbackInfo& info);
  void set_paced(const Napi::CallbackInfo& info);
  Napi::Value expect(const Napi::CallbackInfo& info);
  Napi::Value apply(const Napi::CallbackInfo& info);
  Napi::Value flush(const Napi::CallbackInfo& info);
  Napi::Value rest(const Napi::CallbackInfo& info);
  Napi::Value dirty_bits(const Napi::CallbackInfo& info);
  void merge_dirty(const Napi::CallbackInfo& info);
  void mark_all_dirty(const Napi::CallbackInfo& info);
  void clear_dirty(const Napi::CallbackInfo& info);
  Napi::Value pair(const Napi::CallbackInfo& info);
  void set_pair(const Napi::CallbackInfo& info);
  Napi::Value counts(const Napi::CallbackInfo& info);
  void end(const Napi::CallbackInfo& info);

  DiskCore* live(Napi::Env env);
  Napi::Value slab_buffer(Napi::Env env, uint32_t slab);

  std::shared_ptr<DiskCore> core_;
  Napi::ThreadSafeFunction on_pressure_;
  std::vector<Napi::Reference<Napi::Buffer<uint8_t>>> buffers_;
  bool taking_ = false;
};

/** A connection to an NBD server, for the kernel's client to take over. */
Napi::Value connect_nbd(const Napi::CallbackInfo& info);

}  // namespace romulus::binding
