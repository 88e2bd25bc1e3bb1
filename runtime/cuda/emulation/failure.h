// Lets the emulated device fail, for tests.
#pragma once

#include <cstdint>

namespace pets::cuda::emulation {

/// The emulated device does `operations` more copies and products; the next one fails, and so does everything after it, as on a device
/// after a kernel's wrong address, until probe_device begins anew. Not thread-safe.
void fail_after(uint32_t operations);

}  // namespace pets::cuda::emulation
