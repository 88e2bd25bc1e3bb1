#include "runtime/cuda/task_image.h"

#include <algorithm>
#include <cmath>

#include "kernels/bottleneck/bottleneck_cuda.h"
#include "kernels/low_rank/low_rank_cuda.h"
#include "runtime/cuda/convert.h"
#include "runtime/cuda/shape.h"
#include "runtime/platform/check.h"

namespace pets::cuda {
namespace {

using engine::BaseWeights;
using engine::LinearOperators;
using engine::TaskWeights;
using kernels::cuda::HeadInput;
using kernels::cuda::TaskHeadLayer;

constexpr size_t kAlignment = 64;  // tensor cores' tiles need 32

/// Arrays of an image: where they are written, and where kernels will find them. Without an image it only counts.
class Image {
 public:
  Image() = default;
  Image(std::byte* host, std::byte* device) : host_(host), device_(device) {}

  template <class V>
  struct Array {
    V* host = nullptr;
    V* device = nullptr;
  };
  template <class V>
  Array<V> array(size_t count) {
    const size_t at = used_;
    used_ += (count * sizeof(V) + kAlignment - 1) / kAlignment * kAlignment;
    if (host_ == nullptr) return {};
    return {reinterpret_cast<V*>(host_ + at), reinterpret_cast<V*>(device_ + at)};
  }
  /// A copy; null stays null.
  template <class V>
  const V* copy(const V* values, size_t count) {
    if (values == nullptr) return nullptr;
    const Array<V> to = array<V>(count);
    if (to.host != nullptr) std::memcpy(static_cast<void*>(to.host), values, count * sizeof(V));
    return to.device;
  }
  /// `count` values, `rest` up to `room`.
  template <class V>
  const V* extended(const V* values, size_t count, size_t room, V rest) {
    const Array<V> to = array<V>(room);
    for (size_t i = 0; to.host != nullptr && i < room; ++i) to.host[i] = i < count ? values[i] : rest;
    return to.device;
  }
  const float* padded(const float* values, size_t count, size_t room) { return extended(values, count, room, 0.0F); }
  /// Float panels of [out, in] as [padded_out][padded_in] of T.
  template <class T>
  const T* factor(const float* panels, size_t out, size_t in, size_t padded_out, size_t padded_in) {
    const Array<T> to = array<T>(padded_out * padded_in);
    if (to.host == nullptr) return to.device;
    panels_to_rows(panels, out, in, to.host, padded_in);
    std::memset(static_cast<void*>(to.host + out * padded_in), 0, (padded_out - out) * padded_in * sizeof(T));
    if constexpr (std::is_same_v<T, Half>) check(panels, out * in);
    return to.device;
  }
  template <class T>
  const T* values(const float* values, size_t count) {
    const Array<T> to = array<T>(count);
    if (to.host == nullptr) return to.device;
    for (size_t i = 0; i < count; ++i) to.host[i] = rounded<T>(values[i]);
    if constexpr (std::is_same_v<T, Half>) check(values, count);
    return to.device;
  }

  /// A linear of whatever layout and type as [padded_out][padded_in] of T.
  template <class T>
  const T* linear(const engine::LinearWeights& from, size_t padded_out, size_t padded_in) {
    const Array<T> to = array<T>(padded_out * padded_in);
    if (to.host == nullptr) return to.device;
    std::memset(static_cast<void*>(to.host), 0, padded_out * padded_in * sizeof(T));
    for_each_weight(from, [&](size_t o, size_t k, float value) {
      to.host[o * padded_in + k] = rounded<T>(value);
      if constexpr (std::is_same_v<T, Half>) check(&value, 1);
    });
    return to.device;
  }

  size_t used() const { return used_; }
  bool fits() const { return fits_; }

 private:
  void check(const float* values, size_t count) {
    constexpr float kLargestHalf = 65504;
    for (size_t i = 0; i < count; ++i) fits_ = fits_ && !(std::abs(values[i]) > kLargestHalf && std::isfinite(values[i]));
  }

  std::byte* host_ = nullptr;
  std::byte* device_ = nullptr;
  size_t used_ = 0;
  bool fits_ = true;
};

template <class T>
TaskLinear linear_entry(Image& image, const engine::LinearWeights& base, const LinearOperators& from) {
  const LinearShape shape = device_shape(base);
  TaskLinear to;
  if (from.bias != nullptr) to.bias = image.padded(from.bias, base.out, shape.out);
  if (from.scale_input != nullptr) to.scale_input = image.padded(from.scale_input, base.in, shape.in);
  if (from.scale_output != nullptr) to.scale_output = image.padded(from.scale_output, base.out, shape.out);
  if (from.rank != 0) {
    to.rank = padded_rank(from.rank);
    to.low_rank_a = image.factor<T>(from.low_rank_a, from.rank, base.in, to.rank, shape.in);
    to.low_rank_b = image.factor<T>(from.low_rank_b, base.out, from.rank, shape.out, to.rank);
  }
  if (from.mask != nullptr) {  // planes are in words of 32 inputs, so only panels can be missing
    to.mask = image.extended(from.mask, kernels::panel_count(base.out) * kernels::bit_plane_words(base.in),
                             kernels::panel_count(shape.out) * kernels::bit_plane_words(shape.in), 0U);
  }
  if (from.sparse_column_start != nullptr) {
    const size_t groups = kernels::sparse_group_count(from.sparse_column_start, base.out);
    const auto panels = image.array<kernels::SparsePanel>(kernels::sparse_panel_count(shape.out));
    const auto places = image.array<uint16_t>(groups * kernels::kSparseGroupEntries);
    const auto values = image.array<float>(groups * kernels::kSparseGroupEntries);
    if (panels.host != nullptr) {
      static_assert(kernels::kSparsePanelColumns % kFeatureMultiple == 0, "padded outputs are in no panel of their own");
      kernels::group_sparse({from.sparse_column_start, from.sparse_rows, from.sparse_values, shape.in, base.out}, panels.host, places.host,
                            values.host);
    }
    to.sparse_panels = panels.device;
    to.sparse_places = places.device;
    to.sparse_values = values.device;
  }
  return to;
}

template <class T>
TaskBottleneck bottleneck_entry(Image& image, uint32_t hidden, const kernels::Bottleneck& from) {
  TaskBottleneck to;
  to.inner = padded_rank(from.inner);
  to.down = image.factor<T>(from.down, from.inner, hidden, to.inner, hidden);
  to.up = image.factor<T>(from.up, hidden, from.inner, hidden, to.inner);
  to.options = from;
  to.options.down = to.options.up = nullptr;
  to.options.down_bias = image.padded(from.down_bias, from.inner, to.inner);
  to.options.up_bias = image.copy(from.up_bias, hidden);
  to.options.channel_scaling = image.copy(from.channel_scaling, hidden);
  for (kernels::NormParameters* norm : {&to.options.norm_before, &to.options.norm_after}) {
    norm->gamma = image.copy(norm->gamma, hidden);
    norm->beta = image.copy(norm->beta, hidden);
  }
  return to;
}

template <class T>
TaskHead head_entry(Image& image, const engine::HeadWeights& from) {
  TaskHead to;
  to.layers = from.layers;
  to.outputs = from.outputs;
  to.input = from.reads_tokens() ? HeadInput::kHidden : from.pooling == schema::Pooling::kPooler ? HeadInput::kPooler : HeadInput::kPooled;
  to.normalize = from.normalize && !from.reads_tokens();  // as the CPU: of a row a query
  const auto layers = image.array<TaskHeadLayer>(from.layers);
  to.layer = layers.device;
  for (uint32_t i = 0; i < from.layers; ++i) {
    const engine::LinearWeights& linear = from.layer[i].linear;
    const LinearShape shape = device_shape(linear);
    TaskHeadLayer layer;
    layer.weight = image.linear<T>(linear, shape.out, shape.in);
    layer.bias = image.padded(linear.bias, linear.out, shape.out);
    layer.in = shape.in;
    layer.out = shape.out;
    layer.activation = from.layer[i].activation;
    if (layers.host != nullptr) layers.host[i] = layer;
  }
  return to;
}

TaskNorm norm_entry(Image& image, const engine::NormWeights& from, uint32_t hidden) {
  return {image.copy(from.gamma, hidden), image.copy(from.beta, hidden)};
}

/// Lays out all values; the entries are written where there are any.
template <class T>
void lay_out(const BaseWeights& base, const TaskWeights& task, Image& image, const TaskEntries* entries) {
  const auto rows = [&](const engine::ReplacedRows& from) -> kernels::cuda::TaskRows {
    if (from.count == 0) return {};
    return {image.copy(from.rows, from.count), image.values<T>(from.values, size_t{from.count} * base.hidden), from.count};
  };
  TaskEmbeddings embeddings;
  embeddings.word = rows(task.embedding[0]);
  embeddings.position = rows(task.embedding[1]);
  embeddings.token_type = rows(task.embedding[2]);
  embeddings.norm = norm_entry(image, task.embeddings_norm, base.hidden);
  const TaskHead head = head_entry<T>(image, task.head);
  if (entries != nullptr) {
    *entries->embeddings = embeddings;
    *entries->head = head;
  }
  for (uint32_t n = 0; n < base.layers; ++n) {
    const engine::TaskLayer& layer = task.layer[n];
    for (uint32_t i = 0; i < engine::kLinearSites; ++i) {
      const TaskLinear entry =
          layer.linear[i] == nullptr ? TaskLinear() : linear_entry<T>(image, base.layer[n].linear[i], *layer.linear[i]);
      if (entries != nullptr) entries->linear[n * engine::kLinearSites + i] = entry;
    }
    for (uint32_t i = 0; i < engine::kSublayers; ++i) {
      const TaskNorm norm = layer.norm[i] == nullptr ? TaskNorm() : norm_entry(image, *layer.norm[i], base.hidden);
      const TaskBottleneck adapter =
          layer.bottleneck[i] == nullptr ? TaskBottleneck() : bottleneck_entry<T>(image, base.hidden, *layer.bottleneck[i]);
      if (entries == nullptr) continue;
      entries->norm[n * engine::kSublayers + i] = norm;
      entries->bottleneck[n * engine::kSublayers + i] = adapter;
    }
  }
}

}  // namespace

template <class T>
size_t task_image_bytes(const BaseWeights& base, const TaskWeights& task) noexcept {
  Image counting;
  lay_out<T>(base, task, counting, nullptr);
  constexpr size_t kMultiple = 256;
  return std::max<size_t>(counting.used() + kMultiple - 1, kMultiple) / kMultiple * kMultiple;
}

/// What the kernels' shared memory takes.
template <class T>
Status check_limits(const BaseWeights& base, const TaskWeights& task) {
  constexpr size_t kMostShared = size_t{160} << 10;  // of a block, on the smallest device that is built for (Orin)
  for (uint32_t n = 0; n < base.layers; ++n) {
    for (const LinearOperators* site : task.layer[n].linear) {
      if (site != nullptr && site->rank > kernels::cuda::kMostRank) {
        return Status::error(ErrorCode::kUnsupported, "layer %u: the cuda backend takes a rank of at most %u, found %u", n,
                             kernels::cuda::kMostRank, site->rank);
      }
    }
    for (const kernels::Bottleneck* adapter : task.layer[n].bottleneck) {
      if (adapter == nullptr) continue;
      const size_t bytes = kernels::cuda::bottleneck_shared_bytes<T>(base.hidden, padded_rank(adapter->inner));
      if (bytes > kMostShared) {
        return Status::error(ErrorCode::kUnsupported,
                             "layer %u: a bottleneck of %u needs %zu bytes of a multiprocessor's shared memory, the cuda backend takes %zu",
                             n, adapter->inner, bytes, kMostShared);
      }
    }
  }
  return {};
}

template <class T>
Status make_task_image(const BaseWeights& base, const TaskWeights& task, std::byte* image, std::byte* device,
                       const TaskEntries& entries) noexcept {
  PETS_RETURN_IF_ERROR(check_limits<T>(base, task));
  Image writing(image, device);
  lay_out<T>(base, task, writing, &entries);
  if (!writing.fits()) return Status::error(ErrorCode::kUnsupported, "a weight is beyond the range of half precision (65504)");
  return {};
}

template size_t task_image_bytes<float>(const BaseWeights&, const TaskWeights&) noexcept;
template size_t task_image_bytes<Half>(const BaseWeights&, const TaskWeights&) noexcept;
template size_t task_image_bytes<BFloat16>(const BaseWeights&, const TaskWeights&) noexcept;
template Status make_task_image<float>(const BaseWeights&, const TaskWeights&, std::byte*, std::byte*, const TaskEntries&) noexcept;
template Status make_task_image<Half>(const BaseWeights&, const TaskWeights&, std::byte*, std::byte*, const TaskEntries&) noexcept;
template Status make_task_image<BFloat16>(const BaseWeights&, const TaskWeights&, std::byte*, std::byte*, const TaskEntries&) noexcept;

}  // namespace pets::cuda
