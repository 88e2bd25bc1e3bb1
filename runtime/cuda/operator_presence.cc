#include "runtime/cuda/operator_presence.h"

#include <algorithm>

#include "runtime/cuda/shape.h"

namespace pets::cuda {
namespace {

template <class T>
bool raise(T& value, T to) {
  if (to <= value) return false;
  value = to;
  return true;
}

}  // namespace

OperatorPresence::OperatorPresence(uint32_t layers)
    : layers_(layers), linears_(size_t{layers} * engine::kLinearSites), bottlenecks_(size_t{layers} * engine::kSublayers) {}

void OperatorPresence::clear() {
  std::fill(linears_.begin(), linears_.end(), Linear());
  std::fill(bottlenecks_.begin(), bottlenecks_.end(), uint8_t{0});
  most_rank_ = most_inner_ = 0;
}

bool OperatorPresence::include(const engine::TaskWeights& task) {
  bool more = false;
  for (uint32_t n = 0; n < layers_; ++n) {
    for (uint32_t i = 0; i < engine::kLinearSites; ++i) {
      const engine::LinearOperators* own = task.layer[n].linear[i];
      if (own == nullptr) continue;
      Linear& at = linears_[n * engine::kLinearSites + i];
      more |= raise(at.low_rank, own->rank != 0);
      more |= raise(at.sparse, own->sparse_column_start != nullptr);
      more |= raise(at.mask, own->mask != nullptr);
      more |= raise(at.scale_input, own->scale_input != nullptr);
      more |= raise(most_rank_, padded_rank(own->rank));
    }
    for (uint32_t i = 0; i < engine::kSublayers; ++i) {
      const kernels::Bottleneck* adapter = task.layer[n].bottleneck[i];
      if (adapter == nullptr) continue;
      more |= raise(bottlenecks_[n * engine::kSublayers + i], uint8_t{1});
      more |= raise(most_inner_, padded_rank(adapter->inner));
    }
  }
  return more;
}

}  // namespace pets::cuda
