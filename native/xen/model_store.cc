#include "model_store.h"

#include <cstdlib>
#include <memory>

namespace romulus::xen {
namespace {

using Text = std::unique_ptr<char, Closer<free>>;
using Names = std::unique_ptr<char*, Closer<free>>;

constexpr const char* kOfBlock[] = {"start_addr", "size", "name"};

}  // namespace

std::string saved_model_store(xs_handle* store, uint32_t domid) {
  const std::string root = "/local/domain/0/device-model/" + std::to_string(domid) + "/";
  std::string pairs;
  unsigned count = 0;
  const Names blocks(xs_directory(store, XBT_NULL, (root + "physmap").c_str(), &count));
  if (blocks == nullptr) {
    check(errno == ENOENT, "xs_directory");
    return pairs;
  }
  for (unsigned i = 0; i < count; i++) {
    for (const char* const part : kOfBlock) {
      const std::string key = std::string("physmap/") + blocks.get()[i] + "/" + part;
      unsigned length = 0;
      const Text value(static_cast<char*>(xs_read(store, XBT_NULL, (root + key).c_str(), &length)));
      check(value != nullptr, "xs_read");
      pairs.append(key).push_back('\0');
      pairs.append(value.get(), length).push_back('\0');
    }
  }
  return pairs;
}

}  // namespace romulus::xen
