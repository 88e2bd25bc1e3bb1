#include "runtime/cuda/device_heads.h"

#include "kernels/activation/bias_activation_cuda.h"
#include "kernels/head/head_layer_cuda.h"
#include "kernels/head/head_output_cuda.h"
#include "kernels/pooling/pooling_cuda.h"
#include "runtime/cuda/shape.h"
#include "runtime/engine/heads.h"
#include "runtime/platform/check.h"

namespace pets::cuda {

template <class T>
void DeviceHeads<T>::lay_out(memory::Arena& arena, const engine::BaseWeights& base, const engine::EncoderCapacity& capacity) {
  hidden_ = base.hidden;
  inner_stride_ = padded(capacity.device_head_inner);
  pooled_ = arena.array<T>(size_t{capacity.queries} * hidden_);
  pooler_ = arena.array<T>(size_t{capacity.queries} * hidden_);
  for (T*& inner : inner_) inner = arena.array<T>((size_t{capacity.tokens} + capacity.queries) * inner_stride_);
  logits_ = arena.array<float>(engine::logit_capacity(capacity));
  no_operators_ = arena.array<kernels::cuda::TaskLinear>(1);
  no_slots_ = arena.array<uint16_t>(capacity.queries);
}

template <class T>
Status DeviceHeads<T>::check(const engine::Task& task) const {
  const uint32_t width = task.weights.head.inner_width();
  if (width <= inner_stride_) return {};
  return Status::error(ErrorCode::kResourceExhausted,
                       "task '%s' was added after this session was made and its head has a layer of %u outputs, planned are %u: make a new "
                       "session",
                       task.info.name.c_str(), width, inner_stride_);
}

template <class T>
Status DeviceHeads<T>::apply_pooler(Queue& queue, const BaseTables<T>& base, uint32_t rows) const {
  PETS_RETURN_IF_ERROR(queue.product(Product<T>{pooled_, base.pooler, pooler_, rows, hidden_, hidden_, hidden_}));
  kernels::cuda::bias_activation(
      queue.stream(), kernels::cuda::BiasActivation<T>{
                          pooler_, rows, hidden_, hidden_, base.pooler_bias, kernels::Activation::kTanh, no_slots_, {no_operators_, 0}});
  return {};
}

template <class T>
Status DeviceHeads<T>::launch(Queue& queue, const BaseTables<T>& base, const HeadTables& tables, const HeadBounds& bounds,
                              SiteOperators<TaskHead> tasks, const T* hidden) const {
  kernels::cuda::pool_rows(queue.stream(),
                           kernels::cuda::PoolRows<T>{hidden, pooled_, hidden_, tables.pooled, tables.count, bounds.pooled});
  if (bounds.pooler != 0) PETS_RETURN_IF_ERROR(apply_pooler(queue, base, bounds.pooler));
  kernels::cuda::HeadRows<T> rows;
  rows.hidden = hidden;
  rows.pooled = pooled_;
  rows.pooler = pooler_;
  rows.width = hidden_;
  rows.tiles = {tables.tiles, tables.count + 1, bounds.tiles};
  rows.places = tables.places;
  rows.heads = tasks;
  rows.logits = logits_;
  for (uint32_t layer = 0; layer < bounds.layers; ++layer) {
    kernels::cuda::head_layer(queue.stream(), kernels::cuda::HeadLayer<T>{rows, layer, inner_[(layer + 1) % 2], inner_[layer % 2],
                                                                          inner_stride_, bounds.outputs});
  }
  if (bounds.finished) kernels::cuda::head_output(queue.stream(), rows);
  return queue.launched();
}

template class DeviceHeads<float>;
template class DeviceHeads<Half>;
template class DeviceHeads<BFloat16>;

}  // namespace pets::cuda
