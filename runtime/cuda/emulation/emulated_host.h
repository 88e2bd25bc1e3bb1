// What the emulated device can do with the host's memory: tests say it before they load a model.
#pragma once

#include "runtime/cuda/mapped_memory.h"

namespace pets::cuda {

struct EmulatedHost {
  HostAccess access;                ///< nothing: as a device with memory of its own, in a machine without HMM
  bool registration_fails = false;  ///< though the attributes say that it is supported
  size_t registered = 0;            ///< registrations that live
};
/// One of the process; not thread-safe.
EmulatedHost& emulated_host();

}  // namespace pets::cuda
