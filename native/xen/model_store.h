/** What a device model keeps in xenstore and needs again where the guest goes on. */
#pragma once

#include <string>

#include "xen.h"

namespace romulus::xen {

/**
 * Pairs of NUL-ended key and value, the keys relative to the model's place in xenstore, of the blocks of memory that it has moved.
 * Empty for a QEMU built for Xen 4.10 or later, which finds them in its own state.
 */
std::string saved_model_store(xs_handle* store, uint32_t domid);

}  // namespace romulus::xen
