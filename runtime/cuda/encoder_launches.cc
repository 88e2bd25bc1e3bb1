#include "runtime/cuda/encoder_launches.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/activation/bias_activation_cuda.h"
#include "kernels/bottleneck/bottleneck_cuda.h"
#include "kernels/low_rank/low_rank_cuda.h"
#include "kernels/mask/mask_cuda.h"
#include "kernels/norm/residual_norm_cuda.h"
#include "kernels/quantize/integer_product_cuda.h"
#include "kernels/quantize/quantize_rows_cuda.h"
#include "kernels/rows/rows_cuda.h"
#include "kernels/scale/scale_input_cuda.h"
#include "kernels/sparse/sparse_cuda.h"
#include "runtime/platform/check.h"

namespace pets::cuda {

using engine::kAttentionOutput;
using engine::kDown;
using engine::kKey;
using engine::kQuery;
using engine::kUp;
using engine::kValue;
using kernels::cuda::RowTiles;

template <class T>
void Activations<T>::lay_out(memory::Arena& arena, const engine::BaseWeights& base, uint32_t rows) {
  const size_t all = rows, width = base.hidden;
  hidden = arena.array<T>(all * width);
  qkv = arena.array<T>(all * 3 * width);
  context = arena.array<T>(all * width);
  dense = arena.array<T>(all * width);
  intermediate = arena.array<T>(all * padded(base.intermediate));
  const size_t widest_in = std::max(base.hidden, padded(base.intermediate));
  scaled = arena.array<T>(all * widest_in);
  if (base.linear_type != kernels::WeightType::kInt8) return;
  integers = arena.array<int8_t>(all * widest_in);
  scale = arena.array<float>(all);
}

template <class T>
LinearShape EncoderLaunches<T>::shape(const Linear& site) const {
  return device_shape(at_.base.layer[site.layer].linear[site.index]);
}

template <class T>
OperatorPresence::Linear EncoderLaunches<T>::present(const Linear& site) const {
  OperatorPresence::Linear found;
  for (uint32_t i = 0; i < site.sites; ++i) {
    const OperatorPresence::Linear& any = at_.presence.linear(site.layer, static_cast<engine::LinearIndex>(site.index + i));
    found.mask |= any.mask && in_batch(kMaskTiles);
    found.low_rank |= any.low_rank && in_batch(kLowRankTiles);
    found.sparse |= any.sparse && in_batch(kSparseTiles);
  }
  return found;
}

template <class T>
template <class Has, class Launch>
void EncoderLaunches<T>::each_launch(const Rows& rows, TileFamily family, uint32_t branch, const Has& has, const Launch& launch) const {
  const RowTile* const tiles = tables(rows).tiles[family];
  if (at_.streams == nullptr) {
    const uint32_t most = most_tiles(rows.count, std::min(extents_.queries, at_.tasks.slots()), tile_rows(family));
    launch(queue_.stream(branch), RowTiles{tiles, tables(rows).tile_count + family, most});
    return;
  }
  const RowTables& host = at_.streams->rows(rows.stage);
  const RowTile* const host_tiles = host.tiles[family];
  for (uint32_t first = 0, end = 0; first < host.tile_count[family]; first = end) {
    while (end < host.tile_count[family] && host_tiles[end].slot == host_tiles[first].slot) ++end;
    const StreamSchedule::Task& task = at_.streams->task(host_tiles[first].slot);
    if (has(*task.weights)) launch(queue_.stream(task.stream), RowTiles{tiles + first, nullptr, end - first});
  }
}

/// The deltas of the tasks' operators, after the shared product.
template <class T>
Status EncoderLaunches<T>::operators(const Linear& site, const T* x, const Rows& rows) {
  const LinearShape size = shape(site);
  const OperatorPresence::Linear found = present(site);
  const uint32_t families = uint32_t{found.mask} + uint32_t{found.low_rank} + uint32_t{found.sparse};
  if (families == 0) return {};
  const auto linears = at_.tasks.linears(site.layer, site.index);
  // Of one task's operators at a site; a task that has none there has no launch of its own.
  const auto having = [&](auto&& has) {
    return [&site, has](const engine::TaskWeights& task) {
      const auto* own = task.layer[site.layer].linear + site.index;
      return std::any_of(own, own + site.sites, [&](const engine::LinearOperators* at) { return at != nullptr && has(*at); });
    };
  };
  using engine::LinearOperators;
  // Where a task has operators of several families here, they come in this order.
  const bool apart = extents_.branches && extents_.families_apart;
  const uint32_t branches = apart ? families : 1;
  uint32_t branch = 0;
  const auto next_branch = [&] { return apart ? branch++ : 0; };
  PETS_RETURN_IF_ERROR(fork(branches));
  if (found.mask) {
    each_launch(rows, kMaskTiles, next_branch(), having([](const LinearOperators& own) { return own.mask != nullptr; }),
                [&](Stream stream, const RowTiles& tiles) {
                  const BaseWeight<T> weight = at_.tables.layer[site.layer].weight(site.index, at_.base.hidden);
                  const Activations<T>& own = at_.activations;
                  // Of int8 bases x as the shared product had it.
                  kernels::cuda::mask(stream, kernels::cuda::Mask<T>{x,
                                                                     weight.values,
                                                                     site.y,
                                                                     size.in,
                                                                     size.out,
                                                                     site.y_stride,
                                                                     tiles,
                                                                     linears,
                                                                     site.sites,
                                                                     {own.integers, own.scale, weight.integers, weight.scale}});
                });
  }
  if (found.low_rank) {
    each_launch(rows, kLowRankTiles, next_branch(), having([](const LinearOperators& own) { return own.rank != 0; }),
                [&](Stream stream, const RowTiles& tiles) {
                  kernels::cuda::low_rank(stream, kernels::cuda::LowRank<T>{x, site.y, size.in, size.out, site.y_stride, tiles, linears,
                                                                            at_.presence.most_rank(), site.sites});
                });
  }
  if (found.sparse) {
    each_launch(
        rows, kSparseTiles, next_branch(), having([](const LinearOperators& own) { return own.sparse_column_start != nullptr; }),
        [&](Stream stream, const RowTiles& tiles) {
          kernels::cuda::sparse(stream, kernels::cuda::Sparse<T>{x, site.y, size.in, size.out, site.y_stride, tiles, linears, site.sites});
        });
  }
  return join(branches);
}

template <class T>
Status EncoderLaunches<T>::shared_product(const Linear& site, const T* x, const Rows& rows) {
  const auto [in, site_out] = shape(site);
  const uint32_t out = site.sites * site_out;
  const BaseWeight<T> weight = at_.tables.layer[site.layer].weight(site.index, at_.base.hidden);
  if (weight.integers == nullptr) return queue_.product(Product<T>{x, weight.values, site.y, rows.count, in, out, site.y_stride});
  const Activations<T>& own = at_.activations;
  const uint32_t used = at_.base.layer[site.layer].linear[site.index].in;  // padded inputs are activation(0), not always zero
  kernels::cuda::quantize_rows(queue_.stream(), kernels::cuda::QuantizeRows<T>{x, own.integers, own.scale, rows.count, in, used});
  kernels::cuda::integer_product(queue_.stream(), kernels::cuda::IntegerProduct<T>{own.integers, own.scale, weight.integers, weight.scale,
                                                                                   site.y, rows.count, in, out, site.y_stride});
  return {};
}

/// y = the site's product and deltas, without output scale and bias.
template <class T>
Status EncoderLaunches<T>::linear(const Linear& site, const Rows& rows) {
  const T* x = site.x;
  if (scales_input(site.layer, site.index)) {
    kernels::cuda::scale_input(queue_.stream(),
                               kernels::cuda::ScaleInput<T>{site.x, at_.activations.scaled, rows.count, shape(site).in, tables(rows).slots,
                                                            at_.tasks.linears(site.layer, site.index)});
    x = at_.activations.scaled;
  }
  PETS_RETURN_IF_ERROR(shared_product(site, x, rows));
  return operators(site, x, rows);
}

template <class T>
void EncoderLaunches<T>::bias_activation(const Linear& site, const Rows& rows, kernels::Activation activation) {
  kernels::cuda::bias_activation(
      queue_.stream(),
      kernels::cuda::BiasActivation<T>{site.y, rows.count, shape(site).out, site.y_stride, at_.tables.layer[site.layer].bias[site.index],
                                       activation, tables(rows).slots, at_.tasks.linears(site.layer, site.index)});
}

template <class T>
Status EncoderLaunches<T>::projections(uint32_t layer, const Rows& rows) {
  const uint32_t hidden = at_.base.hidden;
  const Activations<T>& activations = at_.activations;
  bool scaled = false;
  for (const engine::LinearIndex index : {kQuery, kKey, kValue}) scaled = scaled || scales_input(layer, index);
  if (!scaled) {  // one input: one product, one launch of each family of operators
    const Linear all{layer, kQuery, hidden_, activations.qkv, 3 * hidden, 3};
    PETS_RETURN_IF_ERROR(shared_product(all, hidden_, rows));
    return operators(all, hidden_, rows);
  }
  for (const engine::LinearIndex index : {kQuery, kKey, kValue}) {
    const Linear site{layer, index, hidden_, activations.qkv + size_t{index} * hidden, 3 * hidden};
    PETS_RETURN_IF_ERROR(linear(site, rows));
  }
  return {};
}

template <class T>
void EncoderLaunches<T>::attend(uint32_t layer, const Rows& rows) {
  kernels::cuda::Attention<T> call;
  call.q = at_.activations.qkv;
  call.k = at_.activations.qkv + at_.base.hidden;
  call.v = at_.activations.qkv + 2 * size_t{at_.base.hidden};
  call.q_stride = call.kv_stride = 3 * at_.base.hidden;
  call.out = context_;
  call.out_stride = at_.base.hidden;
  for (const engine::LinearIndex index : {kQuery, kKey, kValue}) call.bias[index] = at_.tables.layer[layer].bias[index];
  call.linears = at_.tasks.linears(layer, kQuery);
  call.heads = at_.base.heads;
  call.head_size = at_.base.head_size;
  call.scale = 1.0F / std::sqrt(static_cast<float>(at_.base.head_size));
  call.tiles = at_.device.attention_tiles[rows.stage];
  call.tile_count = at_.device.attention_count + rows.stage;
  call.most_tiles = most_tiles(rows.count, extents_.queries, kernels::cuda::kQueryRows);
  kernels::cuda::attention(queue_.stream(), call);
}

template <class T>
void EncoderLaunches<T>::change_rows(const Rows& rows) {
  kernels::cuda::gather_rows(queue_.stream(), hidden_, at_.device.source_rows[rows.stage], rows.count, at_.base.hidden, context_);
  std::swap(hidden_, context_);
}

/// The sublayer's input in `hidden_` becomes its result.
template <class T>
Status EncoderLaunches<T>::close_sublayer(uint32_t layer, engine::SublayerIndex sublayer, const Rows& rows) {
  const T* const dense = at_.activations.dense;
  T* const hidden = hidden_;
  const engine::LinearIndex last = sublayer == engine::kAttentionSublayer ? kAttentionOutput : kDown;
  const float* bias = at_.tables.layer[layer].bias[last];
  const TaskNorm& norm = at_.tables.layer[layer].norm[sublayer];
  const auto linears = at_.tasks.linears(layer, last);
  const auto norms = at_.tasks.norms(layer, sublayer);
  const auto bottlenecks = at_.tasks.bottlenecks(layer, sublayer);
  const uint32_t width = at_.base.hidden;
  const float epsilon = at_.base.norm_epsilon;
  const bool adapters = in_batch(kBottleneckTiles) && at_.presence.bottleneck(layer, sublayer);
  // Rows with an adapter and rows without one: neither waits for the other.
  const uint32_t branches = adapters && extents_.branches ? 2 : 1;
  if (branches > 1) PETS_RETURN_IF_ERROR(fork(branches));
  kernels::cuda::residual_norm(queue_.stream(branches - 1),
                               kernels::cuda::ResidualNorm<T>{dense, hidden, rows.count, width, epsilon, bias, norm, tables(rows).slots,
                                                              linears, norms, bottlenecks});
  if (!adapters) return {};
  if (branches == 1) PETS_RETURN_IF_ERROR(fork(branches));
  each_launch(
      rows, kBottleneckTiles, 0, [&](const engine::TaskWeights& task) { return task.layer[layer].bottleneck[sublayer] != nullptr; },
      [&](Stream stream, const RowTiles& tiles) {
        kernels::cuda::bottleneck(stream, kernels::cuda::BottleneckSite<T>{dense, hidden, width, epsilon, bias, norm, tiles, linears, norms,
                                                                           bottlenecks, at_.presence.most_inner()});
      });
  return join(branches);
}

template <class T>
void EncoderLaunches<T>::embed(const Rows& rows) {
  kernels::cuda::EmbeddingNorm<T> embedding;
  embedding.tokens = at_.device.tokens;
  embedding.rows = rows.count;
  embedding.width = at_.base.hidden;
  embedding.word = at_.tables.word;
  embedding.position = at_.tables.position;
  embedding.token_type = at_.tables.token_type;
  embedding.norm = at_.tables.embeddings_norm;
  embedding.epsilon = at_.base.norm_epsilon;
  embedding.slots = tables(rows).slots;
  embedding.tasks = at_.tasks.embeddings();
  embedding.hidden = hidden_;
  kernels::cuda::embedding_norm(queue_.stream(), embedding);
}

template <class T>
Status EncoderLaunches<T>::queue() {
  const Activations<T>& activations = at_.activations;
  const uint32_t width = at_.base.hidden;
  Rows rows{extents_.rows, kFirstStage};
  embed(rows);
  for (uint32_t layer = 0; layer < at_.base.layers; ++layer) {
    const ProfilerRange range("pets: layer");
    if (extents_.forked_rows != 0 && layer == extents_.fork_layer) {
      rows = {extents_.forked_rows, kForkedStage};
      change_rows(rows);
    }
    PETS_RETURN_IF_ERROR(projections(layer, rows));
    const T* attended = context_;
    if (layer + 1 == at_.base.layers && extents_.read_rows != 0) {
      rows = {extents_.read_rows, kReadStage};
      attend(layer, rows);
      // From here on only the rows that heads read. Nothing reads qkv after this attention.
      kernels::cuda::gather_rows(queue_.stream(), context_, at_.device.source_rows[kReadStage], rows.count, width, activations.qkv);
      attended = activations.qkv;
      change_rows(rows);
    } else {
      attend(layer, rows);
    }
    PETS_RETURN_IF_ERROR(linear({layer, kAttentionOutput, attended, activations.dense, width}, rows));
    PETS_RETURN_IF_ERROR(close_sublayer(layer, engine::kAttentionSublayer, rows));
    const Linear up{layer, kUp, hidden_, activations.intermediate, padded(at_.base.intermediate)};
    PETS_RETURN_IF_ERROR(linear(up, rows));
    bias_activation(up, rows, at_.base.activation);
    PETS_RETURN_IF_ERROR(linear({layer, kDown, activations.intermediate, activations.dense, width}, rows));
    PETS_RETURN_IF_ERROR(close_sublayer(layer, engine::kFfnSublayer, rows));
    PETS_RETURN_IF_ERROR(queue_.launched());
  }
  return {};
}

template struct Activations<float>;
template struct Activations<Half>;
template struct Activations<BFloat16>;
template class EncoderLaunches<float>;
template class EncoderLaunches<Half>;
template class EncoderLaunches<BFloat16>;

}  // namespace pets::cuda
