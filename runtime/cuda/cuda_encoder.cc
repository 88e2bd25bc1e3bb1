#include "runtime/cuda/cuda_encoder.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>
#include <new>

#include "runtime/platform/check.h"

namespace pets::cuda {
namespace {

TaskStoreCapacity store_capacity(const engine::EncoderCapacity& capacity) {
  return {capacity.device_tasks, capacity.device_task_bytes, capacity.largest_device_task};
}

size_t tables_bytes(const engine::EncoderCapacity& capacity) {
  memory::Arena counting;
  BatchTables().lay_out(counting, capacity.tokens, capacity.queries);
  return counting.used();
}

}  // namespace

template <class T>
CudaEncoder<T>::CudaEncoder(const engine::BaseWeights& base, const BaseTables<T>& tables, const engine::EncoderCapacity& capacity)
    : base_(base),
      tables_(tables),
      capacity_(capacity),
      tables_bytes_(tables_bytes(capacity)),
      residents_(capacity.device_tasks),
      slots_(capacity.queries),
      families_(capacity.queries),
      sources_(capacity.queries),
      presence_(base.layers),
      layer_weights_(base.layers) {
  if (capacity.operator_streams != 0) streams_.emplace(capacity.operator_streams, capacity.device_tasks, capacity.queries);
}

template <class T>
Result<std::unique_ptr<engine::DeviceEncoder>> CudaEncoder<T>::create(const engine::BaseWeights& base, const BaseTables<T>& tables,
                                                                      const engine::EncoderCapacity& capacity) noexcept {
  try {
    std::unique_ptr<CudaEncoder> encoder(new CudaEncoder(base, tables, capacity));
    PETS_RETURN_IF_ERROR(encoder->set_up());
    return std::unique_ptr<engine::DeviceEncoder>(std::move(encoder));
  } catch (const std::bad_alloc&) {
    return Status::error(ErrorCode::kResourceExhausted, "a session on the device: out of memory");
  }
}

template <class T>
void CudaEncoder<T>::lay_out(memory::Arena& arena, const engine::BaseWeights& base, const engine::EncoderCapacity& capacity,
                             CudaEncoder* encoder) {
  std::byte* const workspace = arena.array<std::byte>(kWorkspaceBytes);  // first: it has the memory's own alignment
  Activations<T> activations;
  activations.lay_out(arena, base, capacity.tokens);
  DeviceHeads<T> heads;
  heads.lay_out(arena, base, capacity);
  std::byte* const tables = arena.array<std::byte>(tables_bytes(capacity));
  TaskStore<T>::lay_out(arena, base, store_capacity(capacity), encoder == nullptr ? nullptr : &encoder->tasks_);
  if (encoder == nullptr) return;
  encoder->workspace_ = workspace;
  encoder->activations_ = activations;
  encoder->heads_ = heads;
  encoder->device_tables_ = tables;
}

template <class T>
uint64_t CudaEncoder<T>::count_bytes(const engine::BaseWeights& base, const engine::EncoderCapacity& capacity) noexcept {
  memory::Arena counting;
  lay_out(counting, base, capacity, nullptr);
  return counting.used();
}

template <class T>
Status CudaEncoder<T>::set_up() {
  PETS_ASSIGN_OR_RETURN(queue_, Queue::create({std::max(capacity_.operator_streams, kMostBranches), capacity_.device_tf32}));
  PETS_ASSIGN_OR_RETURN(tasks_, TaskStore<T>::create(base_, store_capacity(capacity_)));
  PETS_ASSIGN_OR_RETURN(memory_, DeviceMemory::allocate(count_bytes(base_, capacity_), "a session on the device"));
  memory::Arena arena(memory_.data(), memory_.size());
  lay_out(arena, base_, capacity_, this);
  PETS_RETURN_IF_ERROR(queue_->set_workspace(workspace_));
  memory::Arena device_tables(device_tables_, tables_bytes_);
  device_.lay_out(device_tables, capacity_.tokens, capacity_.queries);

  const auto lay_out_host = [&](memory::Arena& host) {
    host_tables_ = host.array<std::byte>(tables_bytes_);
    host_logits_ = host.array<float>(engine::logit_capacity(capacity_));
  };
  memory::Arena counting;
  lay_out_host(counting);
  PETS_ASSIGN_OR_RETURN(host_memory_, HostMemory::allocate(counting.used()));
  memory::Arena host(host_memory_.data(), host_memory_.size());
  lay_out_host(host);
  memory::Arena host_tables(host_tables_, tables_bytes_);
  host_.lay_out(host_tables, capacity_.tokens, capacity_.queries);
  return {};
}

template <class T>
Status CudaEncoder<T>::bring_tasks(const engine::PackedBatch& batch) {
  const ProfilerRange range("pets: tasks to the device");
  tasks_.begin_batch();
  if (!capacity_.device_graphs) presence_.clear();
  const auto sequences = batch.sequences();
  for (size_t s = 0; s < sequences.size(); ++s) {
    if (s != 0 && sequences[s].task == sequences[s - 1].task) {
      slots_[s] = slots_[s - 1];
      families_[s] = families_[s - 1];
      continue;
    }
    const engine::Task& task = *sequences[s].task;
    PETS_RETURN_IF_ERROR(heads_.check(task));
    PETS_ASSIGN_OR_RETURN(slots_[s], tasks_.bring(task, *queue_));
    Resident& resident = residents_[slots_[s]];
    if (resident.task != task.id) {
      resident = {task.id, operator_families(task.weights, base_.layers)};
      if (capacity_.device_graphs && presence_.include(task.weights)) graphs_.clear();
    }
    if (!capacity_.device_graphs) presence_.include(task.weights);
    families_[s] = resident.families;
  }
  return {};
}

/// Tasks on one text part at one layer, the first that one of them changes, not each at its own: a stage of tables and not one a layer.
/// Where all of them begin at the same layer, as is usual, nothing is lost.
template <class T>
LaunchExtents CudaEncoder<T>::fill_tables(engine::PackedBatch& batch, const tokenizer::Token* tokens, const engine::HeadBuffers& heads) {
  const auto fill = [&](Stage stage) { fill_stage(stage, batch, slots_.data(), families_.data(), sources_.data(), host_); };
  const auto note_sources = [&] {
    for (size_t s = 0; s < batch.sequences().size(); ++s) sources_[s] = batch.sequences()[s].first_row;
  };
  LaunchExtents extents;
  extents.rows = batch.rows();
  extents.queries = static_cast<uint32_t>(batch.sequences().size());
  constexpr uint32_t kAdding = 1U << kMaskTiles | 1U << kLowRankTiles | 1U << kSparseTiles;
  extents.branches = extents.families_apart = capacity_.device_graphs;
  for (size_t s = 0; s < batch.sequences().size(); ++s) {
    extents.families |= families_[s];
    if (std::popcount(families_[s] & kAdding) > 1) extents.families_apart = false;
  }
  fill_tokens(batch, tokens, host_);
  fill(kFirstStage);
  if (const uint32_t layer = batch.next_fork(); layer != engine::TaskWeights::kNoLayer) {
    note_sources();
    while (batch.next_fork() != engine::TaskWeights::kNoLayer) batch.fork();
    extents.fork_layer = layer;
    extents.forked_rows = batch.rows();
    fill(kForkedStage);
  }
  if (streams_) streams_->plan(batch, slots_.data(), host_);
  note_sources();
  if (batch.keep_read_rows([](uint32_t, uint32_t) {})) {
    extents.read_rows = batch.rows();
    fill(kReadStage);
  }
  engine::place_logits(batch, heads);
  extents.heads = fill_heads(batch, slots_.data(), heads.logit_begin, host_.heads);
  counters_.layer_rows += extents.layer_rows(base_.layers);
  if (capacity_.device_graphs) widen(extents);
  return extents;
}

/// Rows beyond the batch's own are those of an earlier batch, or zeros: in range, of no tile, and read by nobody.
template <class T>
void CudaEncoder<T>::widen(LaunchExtents& extents) {
  extents.rows = bucket_rows(extents.rows, capacity_.tokens);
  extents.forked_rows = bucket_rows(extents.forked_rows, capacity_.tokens);
  extents.read_rows = bucket_rows(extents.read_rows, extents.last_rows());
  extents.queries = capacity_.queries;
  HeadBounds& heads = extents.heads;
  widest_heads_.pooler = std::max(widest_heads_.pooler, heads.pooler);
  widest_heads_.layers = std::max(widest_heads_.layers, heads.layers);
  widest_heads_.outputs = std::max(widest_heads_.outputs, heads.outputs);
  widest_heads_.finished = widest_heads_.finished || heads.finished;
  heads.pooled = bucket_rows(heads.pooled, capacity_.queries);
  heads.pooler = widest_heads_.pooler == 0 ? 0 : heads.pooled;
  heads.tiles = bucket_rows(heads.tiles, most_tiles(capacity_.tokens + capacity_.queries, capacity_.queries, kTileRows));
  heads.layers = widest_heads_.layers;
  heads.outputs = widest_heads_.outputs;
  heads.finished = widest_heads_.finished;
}

template <class T>
Status CudaEncoder<T>::tune(const LaunchExtents& extents) {
  if (!capacity_.device_tuning) return {};
  const ProfilerRange range("pets: tuning");
  const EncoderSite<T> site{base_, tables_, tasks_, presence_, activations_, device_};
  return EncoderLaunches<T>(site, extents, *queue_).tune(layer_weights_);
}

template <class T>
Status CudaEncoder<T>::queue_work(const LaunchExtents& extents) {
  PETS_RETURN_IF_ERROR(queue_->upload(device_tables_, host_tables_, tables_bytes_));
  const EncoderSite<T> site{base_, tables_, tasks_, presence_, activations_, device_, streams_ ? &*streams_ : nullptr};
  EncoderLaunches<T> launches(site, extents, *queue_);
  PETS_RETURN_IF_ERROR(launches.queue());
  return heads_.launch(*queue_, tables_, device_.heads, extents.heads, tasks_.heads(), launches.result());
}

/// A graph is captured when its extents come again: then all of its kernels have run, and batches that come once cost no capture. Where
/// another graph serves such a batch, only when they come often: of five families there are 31 mixes. Products are tuned first: the graph
/// keeps the algorithms that it was captured with.
template <class T>
Status CudaEncoder<T>::queue_batch(const LaunchExtents& extents) {
  constexpr uint32_t kOften = 3;
  if (!capacity_.device_graphs) return queue_work(extents);
  GraphCache::Entry& entry = graphs_.find(extents);
  if (entry.graph == nullptr) {
    const Graph* const covering = graphs_.covering(extents);
    if (++entry.times <= (covering == nullptr ? 1 : kOften)) {
      if (covering == nullptr) return queue_work(extents);
      ++counters_.replays;
      return queue_->replay(*covering);
    }
    PETS_RETURN_IF_ERROR(tune(extents));
    PETS_RETURN_IF_ERROR(queue_->begin_capture());
    const Status captured = queue_work(extents);
    Result<std::unique_ptr<Graph>> graph = queue_->end_capture();
    if (!captured) return captured;
    PETS_ASSIGN_OR_RETURN(entry.graph, std::move(graph));
    ++counters_.captures;
  }
  ++counters_.replays;
  return queue_->replay(*entry.graph);
}

template <class T>
Status CudaEncoder<T>::run_batch(engine::PackedBatch& batch, const tokenizer::Token* tokens, const engine::HeadBuffers& heads) {
  const ProfilerRange range("pets: batch");
  const auto start = std::chrono::steady_clock::now();
  PETS_RETURN_IF_ERROR(bring_tasks(batch));
  PETS_RETURN_IF_ERROR(queue_batch(fill_tables(batch, tokens, heads)));
  const size_t logit_bytes = heads.logit_begin[batch.sequences().size()] * sizeof(float);
  PETS_RETURN_IF_ERROR(queue_->download(host_logits_, heads_.logits(), logit_bytes));
  const std::chrono::duration<double> queued = std::chrono::steady_clock::now() - start;
  const ProfilerRange waiting("pets: wait for the device");
  PETS_RETURN_IF_ERROR(queue_->synchronize());
  std::memcpy(heads.logits, host_logits_, logit_bytes);
  ++counters_.batches;
  counters_.task_copies = tasks_.copies();
  counters_.host_seconds += queued.count();
  return {};
}

template <class T>
Status CudaEncoder<T>::run(engine::PackedBatch& batch, const tokenizer::Token* tokens, const engine::HeadBuffers& heads) noexcept {
  if (!failed_.is_ok()) return failed_;
  const Status status = run_batch(batch, tokens, heads);
  if (status.code() == ErrorCode::kInternal) failed_ = status;  // CUDA's own; a task that cannot be brought in is not the device's fault
  return status;
}

template class CudaEncoder<float>;
template class CudaEncoder<Half>;
template class CudaEncoder<BFloat16>;

}  // namespace pets::cuda
