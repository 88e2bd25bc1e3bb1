#include "runtime/serving/task_work.h"

namespace pets::serving {
namespace {

void add_linear(const engine::LinearOperators& operators, const engine::LinearWeights& linear, TaskWork& work) {
  const double in = linear.in, out = linear.out;
  if (operators.bias != nullptr) work[OperatorFamily::kBias] += out;
  work[OperatorFamily::kLowRank] += operators.rank * (in + out);
  if (operators.sparse_column_start != nullptr) work[OperatorFamily::kSparse] += operators.sparse_column_start[linear.out];
  if (operators.mask != nullptr) work[OperatorFamily::kMask] += in * out;
  if (operators.scale_input != nullptr) work[OperatorFamily::kScale] += in;
  if (operators.scale_output != nullptr) work[OperatorFamily::kScale] += out;
}

}  // namespace

TaskWork work_of(const engine::TaskWeights& weights, const engine::BaseWeights& base) noexcept {
  TaskWork work;
  if (weights.embeddings_norm.gamma != nullptr) work[OperatorFamily::kNorm] += base.hidden;
  for (uint32_t n = 0; n < base.layers; ++n) {
    const engine::TaskLayer& layer = weights.layer[n];
    for (uint32_t i = 0; i < engine::kLinearSites; ++i) {
      if (layer.linear[i] != nullptr) add_linear(*layer.linear[i], base.layer[n].linear[i], work);
    }
    for (uint32_t s = 0; s < engine::kSublayers; ++s) {
      if (layer.norm[s] != nullptr) work[OperatorFamily::kNorm] += base.hidden;
      if (layer.bottleneck[s] != nullptr) work[OperatorFamily::kBottleneck] += 2.0 * base.hidden * layer.bottleneck[s]->inner;
    }
  }
  return work;
}

}  // namespace pets::serving
