// The encoder and the heads on a CUDA device: shared products by cuBLAS over all rows, PET operators in one grouped launch a family and
// site.
#pragma once

#include <memory>

#include "runtime/cuda/base_tables.h"
#include "runtime/cuda/batch_tables.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/device_heads.h"
#include "runtime/cuda/task_store.h"
#include "runtime/engine/device_encoder.h"

namespace pets::cuda {

/// Activations of one session in device memory, [rows][.].
template <class T>
struct Activations {
  T* hidden = nullptr;        ///< the residual stream
  T* qkv = nullptr;           ///< [rows][3 hidden]
  T* context = nullptr;       ///< the attention's output
  T* dense = nullptr;         ///< a sublayer's product
  T* intermediate = nullptr;  ///< [rows][intermediate]
  T* scaled = nullptr;        ///< [rows][widest input]: where a task scales a linear's input

  void lay_out(memory::Arena& arena, const engine::BaseWeights& base, uint32_t rows);
};

template <class T>
class CudaEncoder final : public engine::DeviceEncoder {
 public:
  /// `base` and `tables` must outlive the encoder.
  static Result<std::unique_ptr<engine::DeviceEncoder>> create(const engine::BaseWeights& base, const BaseTables<T>& tables,
                                                               const engine::EncoderCapacity& capacity) noexcept;

  Status run(engine::PackedBatch& batch, const tokenizer::Token* tokens, const engine::HeadBuffers& heads) noexcept override;
  uint64_t device_bytes() const noexcept override { return memory_.size() + tasks_.bytes(); }

 private:
  /// What the tasks of a batch have at each site, so that a launch that no task needs is left out.
  struct Presence {
    bool low_rank = false, sparse = false, mask = false, scale_input = false;
  };
  /// One linear of the layers: x is [rows][in], y [rows][y_stride].
  struct Site {
    uint32_t layer = 0;
    engine::LinearIndex index = engine::kQuery;
    const T* x = nullptr;
    T* y = nullptr;
    uint32_t y_stride = 0;
  };
  /// The rows that a layer works on.
  struct Rows {
    uint32_t count = 0;
    const RowTables* device = nullptr;
    const RowTables* host = nullptr;
  };

  CudaEncoder(const engine::BaseWeights& base, const BaseTables<T>& tables) : base_(base), tables_(tables) {}
  Status set_up(const engine::EncoderCapacity& capacity);
  Status bring_tasks(const engine::PackedBatch& batch);
  void note_presence(const engine::TaskWeights& task);
  Status run_layers(engine::PackedBatch& batch, const engine::HeadBuffers& heads);
  Status queue_batch(engine::PackedBatch& batch, const tokenizer::Token* tokens, const engine::HeadBuffers& heads);

  Status projections(uint32_t layer, const Rows& rows);
  Status linear(const Site& site, const Rows& rows);
  Status product(const Site& site, const T* x, const Rows& rows);
  void operators(const Site& site, const T* x, const Rows& rows);
  void attend(const AttentionTile* tiles, const uint32_t* device_count, uint32_t count);
  void bias_activation(const Site& site, const Rows& rows, kernels::Activation activation);
  void close_sublayer(uint32_t layer, engine::SublayerIndex sublayer, const Rows& rows);
  Presence& presence(uint32_t layer, uint32_t site) { return presence_[layer * engine::kLinearSites + site]; }
  kernels::cuda::RowTiles tiles(const Rows& rows, TileFamily family) const;

  const engine::BaseWeights& base_;
  const BaseTables<T>& tables_;
  std::unique_ptr<Queue> queue_;
  DeviceMemory memory_;
  HostMemory host_tables_memory_;
  Activations<T> activations_;
  DeviceHeads<T> heads_;
  BatchTables device_, host_;
  std::byte* device_tables_ = nullptr;
  size_t tables_bytes_ = 0;
  TaskStore<T> tasks_;
  std::vector<uint16_t> slots_;     // of the batch's sequences
  std::vector<uint32_t> families_;  // of the batch's sequences
  std::vector<Presence> presence_;  // [layers * kLinearSites]
  std::vector<bool> adapters_;      // [layers * kSublayers]
  uint32_t most_rank_ = 0, most_inner_ = 0;
  Status failed_;  // the error after which nothing runs
};

}  // namespace pets::cuda
