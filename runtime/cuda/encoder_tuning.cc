// Which products a batch has: as encoder_launches.cc queues them.
#include <algorithm>

#include "runtime/cuda/encoder_launches.h"
#include "runtime/platform/check.h"

namespace pets::cuda {

using engine::kAttentionOutput;
using engine::kDown;
using engine::kKey;
using engine::kQuery;
using engine::kUp;
using engine::kValue;

/// The pooler is left out: one product of few rows. Every layer asks, since a stage begins or an input is scaled at some; the queue knows
/// the shapes that it has tuned.
template <class T>
Status EncoderLaunches<T>::tune(std::span<const T*> weights) const {
  const Activations<T>& activations = at_.activations;
  if (at_.tables.layer.front().query_key_value.integers != nullptr) return {};  // its products are no library's
  const uint32_t layers = at_.base.layers, hidden = at_.base.hidden, wide = padded(at_.base.intermediate);
  const auto product = [&](const Linear& site, uint32_t rows) {
    const auto [in, out] = shape(site);
    for (uint32_t layer = 0; layer < layers; ++layer) weights[layer] = at_.tables.layer[layer].weight(site.index, hidden).values;
    const T* const x = scales_input(site.layer, site.index) ? activations.scaled : site.x;
    return queue_.tune(Product<T>{x, nullptr, site.y, rows, in, out * site.sites, site.y_stride}, weights.first(layers));
  };
  for (uint32_t layer = 0; layer < layers; ++layer) {
    uint32_t rows = extents_.forked_rows != 0 && layer >= extents_.fork_layer ? extents_.forked_rows : extents_.rows;
    const bool scaled = scales_input(layer, kQuery) || scales_input(layer, kKey) || scales_input(layer, kValue);
    for (const engine::LinearIndex index : {kQuery, kKey, kValue}) {
      if (!scaled && index != kQuery) continue;
      PETS_RETURN_IF_ERROR(product({layer, index, hidden_, activations.qkv + size_t{index} * hidden, 3 * hidden, scaled ? 1U : 3U}, rows));
    }
    const T* attended = context_;
    if (layer + 1 == layers && extents_.read_rows != 0) {
      rows = extents_.read_rows;
      attended = activations.qkv;
    }
    PETS_RETURN_IF_ERROR(product({layer, kAttentionOutput, attended, activations.dense, hidden}, rows));
    PETS_RETURN_IF_ERROR(product({layer, kUp, hidden_, activations.intermediate, wide}, rows));
    PETS_RETURN_IF_ERROR(product({layer, kDown, activations.intermediate, activations.dense, hidden}, rows));
  }
  return {};
}

template Status EncoderLaunches<float>::tune(std::span<const float*>) const;
template Status EncoderLaunches<Half>::tune(std::span<const Half*>) const;
template Status EncoderLaunches<BFloat16>::tune(std::span<const BFloat16*>) const;

}  // namespace pets::cuda
