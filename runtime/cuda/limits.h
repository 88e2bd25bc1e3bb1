// Which bases the CUDA backend takes: what its kernels' tiles ask of the sizes. No CUDA header, since the converter asks, too.
#pragma once

#include <cstdint>

#include "pets/status.h"

namespace pets::cuda {

inline constexpr uint32_t kFeatureMultiple = 16;  ///< of tensor cores' tiles

inline Status check_sizes(uint32_t hidden, uint32_t heads, uint32_t intermediate) {
  const auto refuse = [](const char* what, uint32_t multiple, uint32_t most, uint32_t found) {
    return Status::error(ErrorCode::kUnsupported,
                         "backend cuda: %s: expected a multiple of %u, at most %u, found %u; the cpu backend takes it", what, multiple,
                         most, found);
  };
  constexpr uint32_t kMostHidden = 1024, kMostIntermediate = 4096, kMostHead = 128, kHeadMultiple = 16;
  if (hidden % kFeatureMultiple != 0 || hidden > kMostHidden) return refuse("hidden size", kFeatureMultiple, kMostHidden, hidden);
  if (intermediate > kMostIntermediate) return refuse("intermediate size", 1, kMostIntermediate, intermediate);
  const uint32_t head_size = hidden / heads;
  if (head_size % kHeadMultiple != 0 || head_size > kMostHead) return refuse("head size", kHeadMultiple, kMostHead, head_size);
  return {};
}

}  // namespace pets::cuda
