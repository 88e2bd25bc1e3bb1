#include "runtime/cuda/base_tables.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "runtime/cuda/convert.h"
#include "runtime/cuda/shape.h"
#include "runtime/platform/check.h"

namespace pets::cuda {
namespace {

using engine::BaseWeights;

template <class V>
constexpr kernels::WeightType kTypeOf = std::is_same_v<V, float>    ? kernels::WeightType::kFloat32
                                        : std::is_same_v<V, Half>   ? kernels::WeightType::kFloat16
                                        : std::is_same_v<V, int8_t> ? kernels::WeightType::kInt8
                                                                    : kernels::WeightType::kBFloat16;

/// Finds what the device sees already, and lays out the rest in device memory and, where there is a queue, fills that. Without a queue it
/// only counts.
class Uploader {
 public:
  Uploader(const WeightMapping& mapping, memory::Arena& arena, Queue* queue) : mapping_(mapping), arena_(arena), queue_(queue) {}

  /// Room for `room` >= count values: device memory is zero where nothing is written.
  const float* floats(const float* values, size_t count, size_t room) {
    if (room == count) return as_it_is(values, count);
    float* to = arena_.array<float>(room);
    send(to, values, count * sizeof(float));
    return to;
  }
  const float* floats(const float* values, size_t count) { return floats(values, count, count); }
  /// An embedding table of `type`.
  template <class T>
  const T* table(const void* values, kernels::WeightType type, size_t count) {
    if (type == kTypeOf<T>) return as_it_is(static_cast<const T*>(values), count);
    T* to = arena_.array<T>(count);  // of a base for the cpu: float32
    if (queue_ == nullptr) return to;
    std::vector<T> host(count);
    for (size_t i = 0; i < count; ++i) host[i] = rounded<T>(static_cast<const float*>(values)[i]);
    send(to, host.data(), count * sizeof(T));
    return to;
  }
  using Linears = std::initializer_list<const engine::LinearWeights*>;

  /// Linears with one input, their outputs one after another.
  template <class T>
  BaseWeight<T> weights(Linears linears) {
    if ((*linears.begin())->type != kernels::WeightType::kInt8) return {matrix<T>(linears)};
    BaseWeight<T> weight;
    weight.integers = matrix<int8_t>(linears);
    weight.scale = scales(linears);
    return weight;
  }
  TaskNorm norm(const engine::NormWeights& norm, size_t count) { return {floats(norm.gamma, count), floats(norm.beta, count)}; }
  Status status() const { return status_; }

 private:
  /// One matrix of the linears' weights. V: T or, of int8 weights, int8_t.
  template <class V>
  const V* matrix(Linears linears) {
    const auto values_of = [](const engine::LinearWeights& linear) {
      const LinearShape shape = device_shape(linear);
      return static_cast<size_t>(shape.out) * shape.in;
    };
    size_t count = 0;
    bool ready = true;  // what the kernels read, in one piece
    const auto* const first = static_cast<const V*>((*linears.begin())->panels);
    for (const auto* linear : linears) {
      const bool unpadded = values_of(*linear) == size_t{linear->out} * linear->in;
      ready = ready && linear->row_major && linear->type == kTypeOf<V> && unpadded && linear->panels == first + count;
      count += values_of(*linear);
    }
    if (ready) return as_it_is(first, count);
    V* to = arena_.array<V>(count);
    if (queue_ == nullptr) return to;
    std::vector<V> host(count);
    V* next = host.data();
    for (const auto* linear : linears) {
      row_major(*linear, next, device_shape(*linear).in);
      next += values_of(*linear);
    }
    send(to, host.data(), count * sizeof(V));
    return to;
  }
  /// Of int8 weights, one after another; those of padded outputs are zero.
  const float* scales(Linears linears) {
    size_t count = 0;
    bool ready = true;
    const float* const first = (*linears.begin())->scale;
    for (const auto* linear : linears) {
      ready = ready && linear->row_major && device_shape(*linear).out == linear->out && linear->scale == first + count;
      count += device_shape(*linear).out;
    }
    if (ready) return as_it_is(first, count);
    float* to = arena_.array<float>(count);
    if (queue_ == nullptr) return to;
    std::vector<float> host(count);
    float* next = host.data();
    for (const auto* linear : linears) {
      std::copy_n(linear->scale, linear->out, next);
      next += device_shape(*linear).out;
    }
    send(to, host.data(), count * sizeof(float));
    return to;
  }
  /// Values of the bundle in the form that kernels read.
  template <class T>
  const T* as_it_is(const T* values, size_t count) {
    if (const T* there = mapping_.find(values)) return there;
    T* to = arena_.array<T>(count);
    send(to, values, count * sizeof(T));
    return to;
  }
  void send(void* to, const void* from, size_t bytes) {
    if (queue_ == nullptr || !status_.is_ok()) return;
    status_ = queue_->upload(to, from, bytes);
    if (status_.is_ok()) status_ = queue_->synchronize();  // `from` goes
  }

  const WeightMapping& mapping_;
  memory::Arena& arena_;
  Queue* queue_;
  Status status_;
};

template <class T>
void lay_out(const BaseWeights& base, Uploader& to, BaseTables<T>& tables) {
  const size_t hidden = base.hidden;
  tables.word = to.table<T>(base.word, base.table_type, base.vocabulary * hidden);
  tables.position = to.table<T>(base.position, base.table_type, base.positions * hidden);
  tables.token_type = to.table<T>(base.token_type, base.table_type, base.token_types * hidden);
  tables.embeddings_norm = to.norm(base.embeddings_norm, hidden);
  if (base.pooler.panels != nullptr) {
    tables.pooler = to.weights<T>({&base.pooler}).values;
    tables.pooler_bias = to.floats(base.pooler.bias, hidden);
  }
  tables.layer.clear();
  for (uint32_t n = 0; n < base.layers; ++n) {
    const engine::LayerWeights& from = base.layer[n];
    LayerTables<T> layer;
    layer.query_key_value = to.weights<T>({&from.linear[engine::kQuery], &from.linear[engine::kKey], &from.linear[engine::kValue]});
    layer.attention_output = to.weights<T>({&from.linear[engine::kAttentionOutput]});
    layer.up = to.weights<T>({&from.linear[engine::kUp]});
    layer.down = to.weights<T>({&from.linear[engine::kDown]});
    for (uint32_t i = 0; i < engine::kLinearSites; ++i) {
      layer.bias[i] = to.floats(from.linear[i].bias, from.linear[i].out, device_shape(from.linear[i]).out);
    }
    for (uint32_t i = 0; i < engine::kSublayers; ++i) layer.norm[i] = to.norm(from.norm[i], hidden);
    tables.layer.push_back(layer);
  }
}

}  // namespace

template <class T>
uint64_t BaseTables<T>::count_bytes(const BaseWeights& base, bool mapped) {
  BaseTables tables;
  const WeightMapping mapping = mapped ? WeightMapping::in_place(base) : WeightMapping();
  memory::Arena counting;
  Uploader counter(mapping, counting, nullptr);
  lay_out(base, counter, tables);
  return counting.used();
}

template <class T>
Result<BaseTables<T>> BaseTables<T>::create(const BaseWeights& base, WeightMapping mapping) noexcept {
  try {
    BaseTables tables;
    tables.mapping_ = std::move(mapping);
    const bool mapped = tables.mapping_.memory() != WeightMemory::kCopy;
    PETS_ASSIGN_OR_RETURN(tables.memory_, DeviceMemory::allocate(count_bytes(base, mapped), "the base encoder"));
    PETS_ASSIGN_OR_RETURN(const std::unique_ptr<Queue> queue, Queue::create());
    memory::Arena arena(tables.memory_.data(), tables.memory_.size());
    Uploader uploader(tables.mapping_, arena, queue.get());
    lay_out(base, uploader, tables);
    PETS_RETURN_IF_ERROR(uploader.status());
    return tables;
  } catch (const std::bad_alloc&) {
    return Status::error(ErrorCode::kResourceExhausted, "the base encoder: out of memory");
  }
}

template class BaseTables<float>;
template class BaseTables<Half>;
template class BaseTables<BFloat16>;

}  // namespace pets::cuda
