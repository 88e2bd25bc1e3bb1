// Which PET operators some tasks have, so that launches that no task needs are left out.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/engine/weights.h"

namespace pets::cuda {

class OperatorPresence {
 public:
  struct Linear {
    bool low_rank = false, sparse = false, mask = false, scale_input = false;
  };

  explicit OperatorPresence(uint32_t layers);
  void clear();
  /// True where the task has something that no task before it had.
  bool include(const engine::TaskWeights& task);

  const Linear& linear(uint32_t layer, engine::LinearIndex index) const { return linears_[layer * engine::kLinearSites + index]; }
  bool bottleneck(uint32_t layer, engine::SublayerIndex sublayer) const { return bottlenecks_[layer * engine::kSublayers + sublayer] != 0; }
  uint32_t most_rank() const { return most_rank_; }    ///< padded as on the device
  uint32_t most_inner() const { return most_inner_; }  ///< of bottlenecks, padded as on the device

 private:
  uint32_t layers_;
  std::vector<Linear> linears_;       // [layers * kLinearSites]
  std::vector<uint8_t> bottlenecks_;  // [layers * kSublayers]
  uint32_t most_rank_ = 0, most_inner_ = 0;
};

}  // namespace pets::cuda
