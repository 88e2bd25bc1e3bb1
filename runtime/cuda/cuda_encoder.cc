#include "runtime/cuda/cuda_encoder.h"

#include <algorithm>
#include <cmath>
#include <new>

#include "kernels/activation/bias_activation_cuda.h"
#include "kernels/bottleneck/bottleneck_cuda.h"
#include "kernels/low_rank/low_rank_cuda.h"
#include "kernels/mask/mask_cuda.h"
#include "kernels/norm/residual_norm_cuda.h"
#include "kernels/rows/rows_cuda.h"
#include "kernels/scale/scale_input_cuda.h"
#include "kernels/sparse/sparse_cuda.h"
#include "runtime/cuda/shape.h"
#include "runtime/platform/check.h"

namespace pets::cuda {

using engine::kAttentionOutput;
using engine::kDown;
using engine::kKey;
using engine::kLinearSites;
using engine::kQuery;
using engine::kSublayers;
using engine::kUp;
using engine::kValue;

template <class T>
void Activations<T>::lay_out(memory::Arena& arena, const engine::BaseWeights& base, uint32_t rows) {
  const size_t all = rows, width = base.hidden;
  hidden = arena.array<T>(all * width);
  qkv = arena.array<T>(all * 3 * width);
  context = arena.array<T>(all * width);
  dense = arena.array<T>(all * width);
  intermediate = arena.array<T>(all * padded(base.intermediate));
  scaled = arena.array<T>(all * std::max(base.hidden, padded(base.intermediate)));
}

template <class T>
Result<std::unique_ptr<engine::DeviceEncoder>> CudaEncoder<T>::create(const engine::BaseWeights& base, const BaseTables<T>& tables,
                                                                      const engine::EncoderCapacity& capacity) noexcept {
  try {
    std::unique_ptr<CudaEncoder> encoder(new CudaEncoder(base, tables));
    PETS_RETURN_IF_ERROR(encoder->set_up(capacity));
    return std::unique_ptr<engine::DeviceEncoder>(std::move(encoder));
  } catch (const std::bad_alloc&) {
    return Status::error(ErrorCode::kResourceExhausted, "a session on the device: out of memory");
  }
}

template <class T>
Status CudaEncoder<T>::set_up(const engine::EncoderCapacity& capacity) {
  PETS_ASSIGN_OR_RETURN(queue_, Queue::create());
  memory::Arena counting_tables;
  host_.lay_out(counting_tables, capacity.tokens, capacity.queries);
  tables_bytes_ = counting_tables.used();
  const auto lay_out = [&](memory::Arena& arena) {
    activations_.lay_out(arena, base_, capacity.tokens);
    heads_.lay_out(arena, base_, capacity);
    device_tables_ = arena.array<std::byte>(tables_bytes_);
  };
  memory::Arena counting;
  lay_out(counting);
  PETS_ASSIGN_OR_RETURN(memory_, DeviceMemory::allocate(counting.used(), "a session's activations on the device"));
  memory::Arena arena(memory_.data(), memory_.size());
  lay_out(arena);
  memory::Arena device_tables(device_tables_, tables_bytes_);
  device_.lay_out(device_tables, capacity.tokens, capacity.queries);
  PETS_ASSIGN_OR_RETURN(host_tables_memory_, HostMemory::allocate(tables_bytes_));
  memory::Arena host_tables(host_tables_memory_.data(), tables_bytes_);
  host_.lay_out(host_tables, capacity.tokens, capacity.queries);
  PETS_ASSIGN_OR_RETURN(tasks_,
                        TaskStore<T>::create(base_, {capacity.device_tasks, capacity.device_task_bytes, capacity.largest_device_task}));
  slots_.resize(capacity.queries);
  families_.resize(capacity.queries);
  presence_.resize(size_t{base_.layers} * kLinearSites);
  adapters_.resize(size_t{base_.layers} * kSublayers);
  return {};
}

template <class T>
void CudaEncoder<T>::note_presence(const engine::TaskWeights& task) {
  for (uint32_t n = 0; n < base_.layers; ++n) {
    for (uint32_t i = 0; i < kLinearSites; ++i) {
      const engine::LinearOperators* own = task.layer[n].linear[i];
      if (own == nullptr) continue;
      Presence& at = presence(n, i);
      at.low_rank = at.low_rank || own->rank != 0;
      at.sparse = at.sparse || own->sparse_column_start != nullptr;
      at.mask = at.mask || own->mask != nullptr;
      at.scale_input = at.scale_input || own->scale_input != nullptr;
      most_rank_ = std::max(most_rank_, padded_rank(own->rank));
    }
    for (uint32_t i = 0; i < kSublayers; ++i) {
      const kernels::Bottleneck* adapter = task.layer[n].bottleneck[i];
      if (adapter == nullptr) continue;
      adapters_[n * kSublayers + i] = true;
      most_inner_ = std::max(most_inner_, padded_rank(adapter->inner));
    }
  }
}

template <class T>
Status CudaEncoder<T>::bring_tasks(const engine::PackedBatch& batch) {
  tasks_.begin_batch();
  std::fill(presence_.begin(), presence_.end(), Presence());
  std::fill(adapters_.begin(), adapters_.end(), false);
  most_rank_ = most_inner_ = 0;
  const auto sequences = batch.sequences();
  for (size_t s = 0; s < sequences.size(); ++s) {
    if (s != 0 && sequences[s].task == sequences[s - 1].task) {
      slots_[s] = slots_[s - 1];
      families_[s] = families_[s - 1];
      continue;
    }
    PETS_RETURN_IF_ERROR(heads_.check(*sequences[s].task));
    PETS_ASSIGN_OR_RETURN(slots_[s], tasks_.bring(*sequences[s].task, *queue_));
    families_[s] = tile_families(sequences[s].task->weights, base_.layers);
    note_presence(sequences[s].task->weights);
  }
  return {};
}

template <class T>
kernels::cuda::RowTiles CudaEncoder<T>::tiles(const Rows& rows, TileFamily family) const {
  return {rows.device->tiles[family], rows.device->tile_count + family, rows.host->tile_count[family]};
}

template <class T>
Status CudaEncoder<T>::product(const Site& site, const T* x, const Rows& rows) {
  const LinearShape shape = device_shape(base_.layer[site.layer].linear[site.index]);
  return queue_->product(
      Product<T>{x, tables_.layer[site.layer].weight(site.index, base_.hidden), site.y, rows.count, shape.in, shape.out, site.y_stride});
}

/// The deltas of the tasks' operators, after the shared product.
template <class T>
void CudaEncoder<T>::operators(const Site& site, const T* x, const Rows& rows) {
  const LinearShape shape = device_shape(base_.layer[site.layer].linear[site.index]);
  const Presence& present = presence(site.layer, site.index);
  const auto linears = tasks_.linears(site.layer, site.index);
  if (present.mask) {
    kernels::cuda::mask(queue_->stream(), kernels::cuda::Mask<T>{x, tables_.layer[site.layer].weight(site.index, base_.hidden), site.y,
                                                                 shape.in, shape.out, site.y_stride, tiles(rows, kMaskTiles), linears});
  }
  if (present.low_rank) {
    kernels::cuda::low_rank(queue_->stream(), kernels::cuda::LowRank<T>{x, site.y, shape.in, shape.out, site.y_stride,
                                                                        tiles(rows, kLowRankTiles), linears, most_rank_});
  }
  if (present.sparse) {
    kernels::cuda::sparse(queue_->stream(),
                          kernels::cuda::Sparse<T>{x, site.y, shape.in, shape.out, site.y_stride, tiles(rows, kSparseTiles), linears});
  }
}

/// y = the site's product and deltas, without output scale and bias.
template <class T>
Status CudaEncoder<T>::linear(const Site& site, const Rows& rows) {
  const T* x = site.x;
  if (presence(site.layer, site.index).scale_input) {
    kernels::cuda::scale_input(queue_->stream(), kernels::cuda::ScaleInput<T>{site.x, activations_.scaled, rows.count,
                                                                              device_shape(base_.layer[site.layer].linear[site.index]).in,
                                                                              rows.device->slots, tasks_.linears(site.layer, site.index)});
    x = activations_.scaled;
  }
  PETS_RETURN_IF_ERROR(product(site, x, rows));
  operators(site, x, rows);
  return {};
}

template <class T>
void CudaEncoder<T>::bias_activation(const Site& site, const Rows& rows, kernels::Activation activation) {
  kernels::cuda::bias_activation(
      queue_->stream(), kernels::cuda::BiasActivation<T>{site.y, rows.count, device_shape(base_.layer[site.layer].linear[site.index]).out,
                                                         site.y_stride, tables_.layer[site.layer].bias[site.index], activation,
                                                         rows.device->slots, tasks_.linears(site.layer, site.index)});
}

template <class T>
Status CudaEncoder<T>::projections(uint32_t layer, const Rows& rows) {
  const uint32_t hidden = base_.hidden;
  bool scaled = false;
  for (const engine::LinearIndex index : {kQuery, kKey, kValue}) scaled = scaled || presence(layer, index).scale_input;
  if (!scaled) {  // one input, one product
    PETS_RETURN_IF_ERROR(queue_->product(Product<T>{activations_.hidden, tables_.layer[layer].query_key_value, activations_.qkv, rows.count,
                                                    hidden, 3 * hidden, 3 * hidden}));
  }
  for (const engine::LinearIndex index : {kQuery, kKey, kValue}) {
    const Site site{layer, index, activations_.hidden, activations_.qkv + size_t{index} * hidden, 3 * hidden};
    if (scaled) {
      PETS_RETURN_IF_ERROR(linear(site, rows));
    } else {
      operators(site, site.x, rows);
    }
    bias_activation(site, rows, kernels::Activation::kNone);
  }
  return {};
}

template <class T>
void CudaEncoder<T>::attend(const AttentionTile* tiles, const uint32_t* device_count, uint32_t count) {
  kernels::cuda::Attention<T> call;
  call.q = activations_.qkv;
  call.k = activations_.qkv + base_.hidden;
  call.v = activations_.qkv + 2 * size_t{base_.hidden};
  call.q_stride = call.kv_stride = 3 * base_.hidden;
  call.out = activations_.context;
  call.out_stride = base_.hidden;
  call.heads = base_.heads;
  call.head_size = base_.head_size;
  call.scale = 1.0F / std::sqrt(static_cast<float>(base_.head_size));
  call.tiles = tiles;
  call.tile_count = device_count;
  call.most_tiles = count;
  kernels::cuda::attention(queue_->stream(), call);
}

template <class T>
void CudaEncoder<T>::close_sublayer(uint32_t layer, engine::SublayerIndex sublayer, const Rows& rows) {
  const engine::LinearIndex last = sublayer == engine::kAttentionSublayer ? kAttentionOutput : kDown;
  const float* bias = tables_.layer[layer].bias[last];
  const TaskNorm& norm = tables_.layer[layer].norm[sublayer];
  const auto linears = tasks_.linears(layer, last);
  const auto norms = tasks_.norms(layer, sublayer);
  const auto bottlenecks = tasks_.bottlenecks(layer, sublayer);
  kernels::cuda::residual_norm(
      queue_->stream(), kernels::cuda::ResidualNorm<T>{activations_.dense, activations_.hidden, rows.count, base_.hidden,
                                                       base_.norm_epsilon, bias, norm, rows.device->slots, linears, norms, bottlenecks});
  if (adapters_[layer * kSublayers + sublayer]) {
    kernels::cuda::bottleneck(
        queue_->stream(), kernels::cuda::BottleneckSite<T>{activations_.dense, activations_.hidden, base_.hidden, base_.norm_epsilon, bias,
                                                           norm, tiles(rows, kBottleneckTiles), linears, norms, bottlenecks, most_inner_});
  }
}

template <class T>
Status CudaEncoder<T>::run_layers(engine::PackedBatch& batch, const engine::HeadBuffers& heads) {
  Rows rows{batch.rows(), &device_.all, &host_.all};
  const uint32_t all_rows = batch.rows(), hidden = base_.hidden;
  const bool fewer = batch.keep_read_rows([](uint32_t, uint32_t) {});
  fill_read(batch, slots_.data(), families_.data(), host_);
  engine::place_logits(batch, heads);
  const HeadBounds bounds = fill_heads(batch, slots_.data(), heads.logit_begin, host_.heads);
  PETS_RETURN_IF_ERROR(queue_->upload(device_tables_, host_tables_memory_.data(), tables_bytes_));

  kernels::cuda::EmbeddingNorm<T> embedding;
  embedding.tokens = device_.tokens;
  embedding.rows = all_rows;
  embedding.width = hidden;
  embedding.word = tables_.word;
  embedding.position = tables_.position;
  embedding.token_type = tables_.token_type;
  embedding.norm = tables_.embeddings_norm;
  embedding.epsilon = base_.norm_epsilon;
  embedding.slots = device_.all.slots;
  embedding.tasks = tasks_.embeddings();
  embedding.hidden = activations_.hidden;
  kernels::cuda::embedding_norm(queue_->stream(), embedding);

  for (uint32_t layer = 0; layer < base_.layers; ++layer) {
    const ProfilerRange range("pets: layer");
    PETS_RETURN_IF_ERROR(projections(layer, rows));
    T* attended = activations_.context;
    if (layer + 1 == base_.layers && fewer) {
      attend(device_.read_attention_tiles, device_.attention_count + 1, host_.attention_count[1]);
      // From here on only the rows that heads read. Nothing reads qkv and context after this attention.
      rows = {batch.rows(), &device_.read, &host_.read};
      kernels::cuda::gather_rows(queue_->stream(), activations_.context, device_.read_rows, rows.count, hidden, activations_.qkv);
      attended = activations_.qkv;
      kernels::cuda::gather_rows(queue_->stream(), activations_.hidden, device_.read_rows, rows.count, hidden, activations_.context);
      std::swap(activations_.hidden, activations_.context);
    } else {
      attend(device_.attention_tiles, device_.attention_count, host_.attention_count[0]);
    }
    PETS_RETURN_IF_ERROR(linear({layer, kAttentionOutput, attended, activations_.dense, hidden}, rows));
    close_sublayer(layer, engine::kAttentionSublayer, rows);
    const Site up{layer, kUp, activations_.hidden, activations_.intermediate, padded(base_.intermediate)};
    PETS_RETURN_IF_ERROR(linear(up, rows));
    bias_activation(up, rows, base_.activation);
    PETS_RETURN_IF_ERROR(linear({layer, kDown, activations_.intermediate, activations_.dense, hidden}, rows));
    close_sublayer(layer, engine::kFfnSublayer, rows);
    PETS_RETURN_IF_ERROR(queue_->launched());
  }
  return heads_.launch(*queue_, tables_, device_.heads, bounds, tasks_.heads(), activations_.hidden);
}

template <class T>
Status CudaEncoder<T>::queue_batch(engine::PackedBatch& batch, const tokenizer::Token* tokens, const engine::HeadBuffers& heads) {
  const ProfilerRange range("pets: batch");
  {
    const ProfilerRange bringing("pets: tasks to the device");
    PETS_RETURN_IF_ERROR(bring_tasks(batch));
  }
  fill_all(batch, tokens, slots_.data(), families_.data(), host_);
  PETS_RETURN_IF_ERROR(run_layers(batch, heads));
  const size_t logits = heads.logit_begin[batch.sequences().size()];
  PETS_RETURN_IF_ERROR(queue_->download(heads.logits, heads_.logits(), logits * sizeof(float)));
  const ProfilerRange waiting("pets: wait for the device");
  return queue_->synchronize();
}

template <class T>
Status CudaEncoder<T>::run(engine::PackedBatch& batch, const tokenizer::Token* tokens, const engine::HeadBuffers& heads) noexcept {
  if (!failed_.is_ok()) return failed_;
  const Status status = queue_batch(batch, tokens, heads);
  if (status.code() == ErrorCode::kInternal) failed_ = status;  // CUDA's own; a task that cannot be brought in is not the device's fault
  return status;
}

template class CudaEncoder<float>;
template class CudaEncoder<Half>;
template class CudaEncoder<BFloat16>;

}  // namespace pets::cuda
