// What is queued for one batch: the encoder's layers, shared products over all rows and PET operators in between.
#pragma once

#include <span>

#include "runtime/cuda/base_tables.h"
#include "runtime/cuda/batch_tables.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/operator_presence.h"
#include "runtime/cuda/shape.h"
#include "runtime/cuda/stream_schedule.h"
#include "runtime/cuda/task_store.h"
#include "runtime/memory/arena.h"

namespace pets::cuda {

/// Activations of one session in device memory, [rows][.].
template <class T>
struct Activations {
  T* hidden = nullptr;         ///< the residual stream
  T* qkv = nullptr;            ///< [rows][3 hidden]
  T* context = nullptr;        ///< the attention's output
  T* dense = nullptr;          ///< a sublayer's product
  T* intermediate = nullptr;   ///< [rows][intermediate]
  T* scaled = nullptr;         ///< [rows][widest input]: where a task scales a linear's input
  int8_t* integers = nullptr;  ///< [rows][widest input]: a linear's input, int8 bases alone
  float* scale = nullptr;      ///< [rows], of the integers

  void lay_out(memory::Arena& arena, const engine::BaseWeights& base, uint32_t rows);
};

/// All that the launches of a batch depend on; whatever else changes from batch to batch lies in device memory. So batches of equal extents
/// have the same launches, and one captured graph serves them.
struct LaunchExtents {
  uint32_t rows = 0;            ///< of the first stage
  uint32_t fork_layer = 0;      ///< where the forked stage begins
  uint32_t forked_rows = 0;     ///< 0: nothing forks
  uint32_t read_rows = 0;       ///< of the read stage; 0: all rows go on
  uint32_t queries = 0;         ///< at most so many sequences
  uint32_t families = 0;        ///< of operators that the batch's tasks have, as bits: launches of others are left out
  bool branches = false;        ///< launches that do not depend on each other may run at the same time, on streams of their own
  bool families_apart = false;  ///< no task has operators of two families that add to a linear: these do not depend on each other

  /// Of the last layer's keys.
  uint32_t last_rows() const { return forked_rows != 0 ? forked_rows : rows; }
  uint32_t head_rows() const { return read_rows != 0 ? read_rows : last_rows(); }
  /// Rows times layers.
  uint64_t layer_rows(uint32_t layers) const {
    const uint32_t unforked = forked_rows != 0 ? fork_layer : layers;
    return uint64_t{rows} * unforked + uint64_t{forked_rows} * (layers - unforked);
  }
  HeadBounds heads;
  bool operator==(const LaunchExtents&) const = default;
  /// Whether these extents' launches serve a batch of `other` as well: some of them may have nothing to do, or wait where they need not.
  bool covers(LaunchExtents other) const {
    if ((other.families & ~families) != 0 || (families_apart && !other.families_apart)) return false;
    other.families = families;
    other.families_apart = families_apart;
    return *this == other;
  }
};

inline constexpr uint32_t kMostBranches = 3;  ///< streams that a queue needs for them: one a family that adds to a linear

/// What a batch's launches work on; all of it outlives them.
template <class T>
struct EncoderSite {
  const engine::BaseWeights& base;
  const BaseTables<T>& tables;
  const TaskStore<T>& tasks;
  const OperatorPresence& presence;
  const Activations<T>& activations;
  const BatchTables& device;
  /// Null: the operators of all tasks in one launch a family and site.
  const StreamSchedule* streams = nullptr;
};

template <class T>
class EncoderLaunches {
 public:
  EncoderLaunches(const EncoderSite<T>& site, const LaunchExtents& extents, Queue& queue)
      : at_(site), extents_(extents), queue_(queue), hidden_(site.activations.hidden), context_(site.activations.context) {}

  /// Embeddings and all layers.
  Status queue();
  /// Has the queue tune every product that `queue` will ask for (Queue::tune, for what it costs and does to the activations).
  /// `weights`: room for one a layer.
  Status tune(std::span<const T*> weights) const;
  /// Where the result will be: the last hidden state of the rows that heads read.
  const T* result() const { return hidden_; }

 private:
  /// One linear of the layers: x is [rows][in], y [rows][y_stride]. Or `sites` neighbours of one shape and input: their results are
  /// neighbouring columns.
  struct Linear {
    uint32_t layer = 0;
    engine::LinearIndex index = engine::kQuery;
    const T* x = nullptr;
    T* y = nullptr;
    uint32_t y_stride = 0;
    uint32_t sites = 1;
  };
  /// The rows that a layer works on.
  struct Rows {
    uint32_t count = 0;
    Stage stage = kFirstStage;
  };
  /// Where some task has operators of the family, whether any of this batch does.
  bool in_batch(uint32_t family) const { return (extents_.families >> family & 1) != 0; }
  bool scales_input(uint32_t layer, engine::LinearIndex index) const {
    return in_batch(kScaledInputs) && at_.presence.linear(layer, index).scale_input;
  }
  const RowTables& tables(const Rows& rows) const { return at_.device.rows[rows.stage]; }

  void embed(const Rows& rows);
  /// q, k and v without output scales and biases, which the attention applies.
  Status projections(uint32_t layer, const Rows& rows);
  Status linear(const Linear& site, const Rows& rows);
  /// y = x w^T of the base's weights at the site and its neighbours.
  Status shared_product(const Linear& site, const T* x, const Rows& rows);
  Status operators(const Linear& site, const T* x, const Rows& rows);
  /// Of the stage's queries, to `context_`, where keys have their rows.
  void attend(uint32_t layer, const Rows& rows);
  /// The residual stream's rows as the stage has them.
  void change_rows(const Rows& rows);
  void bias_activation(const Linear& site, const Rows& rows, kernels::Activation activation);
  Status close_sublayer(uint32_t layer, engine::SublayerIndex sublayer, const Rows& rows);
  LinearShape shape(const Linear& site) const;
  /// Which operators that add to a linear some of the batch's tasks have at the site or one of its neighbours.
  OperatorPresence::Linear present(const Linear& site) const;
  /// Calls launch(stream, tiles) once for all tasks, on the stream of the branch, or for every task that `has` the operator.
  template <class Has, class Launch>
  void each_launch(const Rows& rows, TileFamily family, uint32_t branch, const Has& has, const Launch& launch) const;
  /// Before and after launches that may run at the same time, in so many branches where all tasks' are grouped.
  Status fork(uint32_t branches) { return queue_.fork(at_.streams == nullptr ? branches : at_.streams->streams()); }
  Status join(uint32_t branches) { return queue_.join(at_.streams == nullptr ? branches : at_.streams->streams()); }

  const EncoderSite<T>& at_;
  const LaunchExtents& extents_;
  Queue& queue_;
  T *hidden_, *context_;  // change places where rows change
};

}  // namespace pets::cuda
