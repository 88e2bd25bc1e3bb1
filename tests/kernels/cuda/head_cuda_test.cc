#include <algorithm>
#include <optional>

#include "tests/kernels/cuda/bounded.h"

#include "kernels/head/head_layer_cuda.h"
#include "kernels/head/head_output_cuda.h"

namespace pets::kernels::cuda {
namespace {

constexpr float kUntouched = -77;
constexpr uint32_t kHeadStride = 2;  // of the operators of a slot, the second is the one that is tested

constexpr uint32_t padded_to_tile(uint32_t size) { return (size + 15) / 16 * 16; }

/// A layer as it lies on the device, padded, and as a reference reads it.
template <class T>
struct Layer {
  Layer(Random& random, uint32_t in_, uint32_t out_, Activation activation_, bool has_bias)
      : in(in_), out(out_), activation(activation_), weight(random.floats(size_t{out} * in, 0, 1 / std::sqrt(static_cast<float>(in)))) {
    const uint32_t row_length = padded_to_tile(in), rows = padded_to_tile(out);
    const std::vector<T> values = rounded<T>(weight);
    std::vector<T> padded(size_t{rows} * row_length, as_type<T>(0));
    for (size_t i = 0; i < values.size(); ++i) padded[i / in * row_length + i % in] = values[i];
    d_weight = DeviceArray<T>(padded);
    if (!has_bias) return;
    bias = random.floats(out);
    std::vector<float> padded_bias = bias;
    padded_bias.resize(rows);
    d_bias = DeviceArray<float>(padded_bias);
  }
  TaskHeadLayer entry() const { return {d_weight.data(), d_bias.data(), padded_to_tile(in), padded_to_tile(out), activation}; }
  BoundedRow operator()(const BoundedRow& x) const {
    BoundedRow y = product(weight, x);
    if (!bias.empty()) y = y + exact(bias.data(), bias.size());
    for (Bounded& value : y) value = activated(activation, value);
    return y;
  }

  uint32_t in, out;
  Activation activation;
  std::vector<float> weight, bias;
  DeviceArray<T> d_weight;
  DeviceArray<float> d_bias;
};

/// One task's head and its rows.
template <class T>
struct Head {
  HeadInput input = HeadInput::kPooled;
  uint32_t rows = 0;
  bool by_output = false;  ///< logits are [outputs][rows], else [rows][outputs]
  bool normalize = false;
  std::vector<Layer<T>> layers;
  DeviceArray<TaskHeadLayer> d_layers;

  void add(Random& random, uint32_t in, uint32_t out, Activation activation, bool bias = true) {
    layers.emplace_back(random, layers.empty() ? in : layers.back().out, out, activation, bias);
  }
  uint32_t outputs(uint32_t width) const { return layers.empty() ? width : layers.back().out; }
  BoundedRow operator()(BoundedRow x) const {
    for (size_t i = 0; i < layers.size(); ++i) x = i == 0 ? layers[i](x) : layers[i](rounded_to<T>(x));
    if (!normalize) return x;
    double squares = 0, squared_errors = 0;
    for (const Bounded& v : x) {
      squares += v.value * v.value;
      squared_errors += v.error * v.error;
    }
    // A lane's sum, the lanes' and the square each round once a step, and count half under the root.
    const double least = double{1e-12F}, length = std::sqrt(squares), roundings = (std::ceil(double(x.size()) / 32) + 5) / 2 + 1;
    const double error = std::sqrt(squared_errors) + roundings * kFloatRounding * (length + std::sqrt(squared_errors));
    const double divisor = std::max(length, least), shortest = std::max(length - error, least);
    for (Bounded& v : x) {
      const double value = v.value / divisor;
      v = with_roundings({value, (v.error + std::abs(value) * error) / shortest}, 1);
    }
    return x;
  }
};

/// Runs heads over random inputs and compares all logits. `most_out`: of the call; not given: the widest layer's.
template <class T>
void expect_heads(Random& random, uint32_t width, std::vector<Head<T>>& heads, std::optional<uint32_t> most_out = {}) {
  // The rows of each kind of input, a row that is nobody's behind every task's.
  uint32_t input_rows[3] = {}, head_rows = 0, layers = 0, inner_stride = 16, widest = 0;
  std::vector<HeadTile> tiles;
  std::vector<LogitPlace> places;
  std::vector<std::pair<uint32_t, uint32_t>> first;  // of each head: input row, head row
  uint32_t logit_count = 3;
  for (uint16_t slot = 0; slot < heads.size(); ++slot) {
    const Head<T>& head = heads[slot];
    uint32_t& inputs = input_rows[static_cast<size_t>(head.input)];
    first.emplace_back(inputs, head_rows);
    for (uint32_t row = 0; row < head.rows; row += 16) {
      tiles.push_back({{inputs + row, static_cast<uint16_t>(std::min(16U, head.rows - row)), slot}, head_rows + row});
    }
    const uint32_t outputs = head.outputs(width);
    for (uint32_t row = 0; row < head.rows; ++row) {
      places.push_back(head.by_output ? LogitPlace{logit_count + row, head.rows} : LogitPlace{logit_count + row * outputs, 1});
    }
    logit_count += head.rows * outputs + slot % 2;  // what lies between is nobody's
    inputs += head.rows + 1;
    head_rows += head.rows;
    layers = std::max(layers, static_cast<uint32_t>(head.layers.size()));
    for (size_t i = 0; i < head.layers.size(); ++i) {
      widest = std::max(widest, padded_to_tile(head.layers[i].out));
      if (i + 1 < head.layers.size()) inner_stride = std::max(inner_stride, padded_to_tile(head.layers[i].out));
    }
  }
  const DeviceArray<uint32_t> count({static_cast<uint32_t>(tiles.size())});
  tiles.push_back(tiles.front());  // beyond the count, where it would write what is written, but with another task's head
  tiles.back().input.slot = static_cast<uint16_t>(heads.size() - 1);

  std::vector<TaskHead> entries(heads.size() * kHeadStride);
  for (size_t slot = 0; slot < heads.size(); ++slot) {
    Head<T>& head = heads[slot];
    std::vector<TaskHeadLayer> layer_entries;
    for (const Layer<T>& layer : head.layers) layer_entries.push_back(layer.entry());
    head.d_layers = DeviceArray<TaskHeadLayer>(layer_entries);
    entries[slot * kHeadStride + 1] = {head.d_layers.data(), static_cast<uint32_t>(layer_entries.size()), head.outputs(width), head.input,
                                       head.normalize};
  }
  std::vector<float> inputs[3];
  DeviceArray<T> d_inputs[3];
  for (size_t kind = 0; kind < 3; ++kind) {
    inputs[kind] = random.floats(size_t{input_rows[kind]} * width);
    d_inputs[kind] = DeviceArray<T>(rounded<T>(inputs[kind]));
  }
  const DeviceArray<TaskHead> d_entries(entries);
  const DeviceArray<HeadTile> d_tiles(tiles);
  const DeviceArray<LogitPlace> d_places(places);
  const DeviceArray<float> d_logits(std::vector<float>(logit_count + 2, kUntouched));
  // Nobody reads what nobody wrote.
  const std::vector<T> nothing(size_t{head_rows} * inner_stride, as_type<T>(std::numeric_limits<float>::quiet_NaN()));
  const DeviceArray<T> d_inner[2] = {DeviceArray<T>(nothing), DeviceArray<T>(nothing)};

  HeadRows<T> rows;
  rows.hidden = d_inputs[0].data();
  rows.pooled = d_inputs[1].data();
  rows.pooler = d_inputs[2].data();
  rows.width = width;
  rows.tiles = {d_tiles.data(), count.data(), static_cast<uint32_t>(tiles.size()) + 1};
  rows.places = d_places.data();
  rows.heads = {d_entries.data() + 1, kHeadStride};
  rows.logits = d_logits.data();
  for (uint32_t layer = 0; layer <= layers; ++layer) {  // one more than any head has
    head_layer(Stream{}, HeadLayer<T>{rows, layer, d_inner[(layer + 1) % 2].data(), d_inner[layer % 2].data(), inner_stride,
                                      most_out.value_or(widest)});
  }
  head_output(Stream{}, rows);

  const std::vector<float> found = d_logits.read();
  std::vector<bool> written(found.size());
  for (size_t slot = 0; slot < heads.size(); ++slot) {
    const Head<T>& head = heads[slot];
    for (uint32_t row = 0; row < head.rows; ++row) {
      const std::vector<float>& from = inputs[static_cast<size_t>(head.input)];
      const BoundedRow expected = head(exact(from.data() + size_t{first[slot].first + row} * width, width));
      const LogitPlace place = places[first[slot].second + row];
      for (uint32_t i = 0; i < expected.size(); ++i) {
        const size_t at = place.begin + size_t{i} * place.stride;
        expect_rounded(found[at], expected[i]);
        written[at] = true;
      }
      ASSERT_FALSE(::testing::Test::HasFailure()) << "head " << slot << " row " << row;
    }
  }
  for (size_t at = 0; at < found.size(); ++at) {
    EXPECT_TRUE(written[at] || found[at] == kUntouched) << "logit " << at << ": " << found[at];
  }
}

template <class T>
class HeadCuda : public ::testing::Test {
 protected:
  HeadCuda() : seed_(std::random_device()()), trace_(__FILE__, __LINE__, ::testing::Message() << "seed " << seed_), random_(seed_) {}
  Activation any_activation() { return static_cast<Activation>(random_.below(kActivations)); }

  const uint64_t seed_;
  const ::testing::ScopedTrace trace_;
  Random random_;
};
TYPED_TEST_SUITE(HeadCuda, ActivationTypes);

// Outputs of less than a tile, of parts of a block's, and of several blocks; rows of one tile and of several; every input; depths that do
// not divide among the warps, and of several chunks.
TYPED_TEST(HeadCuda, OneLayerOfEverySize) {
  for (const uint32_t width : {16U, 48U, 64U, 528U}) {
    SCOPED_TRACE(::testing::Message() << "width " << width);
    std::vector<Head<TypeParam>> heads;
    uint32_t n = 0;
    for (const uint32_t outputs : {2U, 1U, 3U, 9U, 16U, 17U, 64U, 70U, 133U}) {
      Head<TypeParam>& head = heads.emplace_back();
      constexpr uint32_t kRows[] = {1, 7, 19, 33, 16};
      head.rows = width > 64 ? 1 + n : kRows[n % 5];
      head.input = static_cast<HeadInput>(n % 3);
      head.by_output = n % 2 != 0;
      head.add(this->random_, width, outputs, Activation::kNone, n % 4 != 3);
      ++n;
    }
    expect_heads(this->random_, width, heads);
  }
}

// Heads of 0 to 4 layers side by side, so that most launches have nothing to do for some of them; inner widths that are padded.
TYPED_TEST(HeadCuda, SeveralLayersOfEveryActivation) {
  std::vector<Head<TypeParam>> heads;
  for (uint32_t n = 0; n < 3 * kActivations; ++n) {
    Head<TypeParam>& head = heads.emplace_back();
    head.rows = 1 + this->random_.below(20);
    head.input = static_cast<HeadInput>(n % 3);
    head.by_output = n % 5 == 0;
    const uint32_t layers = n % 5;
    for (uint32_t i = 0; i < layers; ++i) {
      head.add(this->random_, 48, 1 + this->random_.below(40), i == 0 ? static_cast<Activation>(n % kActivations) : this->any_activation());
    }
  }
  expect_heads(this->random_, 48, heads);
}

TYPED_TEST(HeadCuda, FewerBlocksThanGroupsOfOutputs) {
  std::vector<Head<TypeParam>> heads(3);
  for (Head<TypeParam>& head : heads) head.rows = 18;
  heads[0].add(this->random_, 32, 200, Activation::kGelu);
  heads[0].add(this->random_, 32, 150, Activation::kNone);
  heads[1].add(this->random_, 32, 3, Activation::kNone);
  heads[2].add(this->random_, 32, 130, Activation::kTanh);
  for (const uint32_t most_out : {0U, 16U, 128U, 4096U}) {
    SCOPED_TRACE(::testing::Message() << "most_out " << most_out);
    expect_heads(this->random_, 32, heads, most_out);
  }
}

TYPED_TEST(HeadCuda, EmbeddingsWithAndWithoutLayersAreNormalized) {
  for (const uint32_t width : {16U, 80U, 384U}) {
    SCOPED_TRACE(::testing::Message() << "width " << width);
    std::vector<Head<TypeParam>> heads(8);
    for (size_t n = 0; n < heads.size(); ++n) {
      Head<TypeParam>& head = heads[n];
      head.rows = 1 + this->random_.below(35);
      head.input = n % 3 == 0 ? HeadInput::kPooler : HeadInput::kPooled;
      head.normalize = n % 2 == 0;
      if (n % 4 >= 2) head.add(this->random_, width, 33, Activation::kTanh);
    }
    expect_heads(this->random_, width, heads);
  }
}

TYPED_TEST(HeadCuda, ShortRowsAreDividedByTheLeastLength) {
  using T = TypeParam;
  constexpr uint32_t kWidth = 16;
  std::vector<T> x(2 * kWidth, as_type<T>(0));  // no length, and, but in half precision, 2e-13
  for (uint32_t i = 0; i < 4; ++i) x[kWidth + i] = as_type<T>(1e-13F);
  const DeviceArray<T> pooled(x);
  const DeviceArray<TaskHead> heads(std::vector<TaskHead>{{nullptr, 0, kWidth, HeadInput::kPooled, true}});
  const DeviceArray<HeadTile> tiles(std::vector<HeadTile>{{{0, 2, 0}, 0}});
  const DeviceArray<LogitPlace> places(std::vector<LogitPlace>{{0, 1}, {kWidth, 1}});
  const DeviceArray<uint32_t> count({1});
  const DeviceArray<float> logits(std::vector<float>(x.size(), kUntouched));
  HeadRows<T> rows;
  rows.pooled = pooled.data();
  rows.width = kWidth;
  rows.tiles = {tiles.data(), count.data(), 1};
  rows.places = places.data();
  rows.heads = {heads.data(), 1};
  rows.logits = logits.data();
  head_output(Stream{}, rows);
  const std::vector<float> found = logits.read();
  for (size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i], as_float(x[i]) / 1e-12F) << i;
}

TYPED_TEST(HeadCuda, NoTiles) {
  head_layer(Stream{}, HeadLayer<TypeParam>{});
  head_output(Stream{}, HeadRows<TypeParam>{});
  const DeviceArray<uint32_t> count({0});
  HeadRows<TypeParam> rows;
  rows.width = 48;
  rows.tiles = {nullptr, count.data(), 2};
  head_layer(Stream{}, HeadLayer<TypeParam>{rows, 0, nullptr, nullptr, 48, 100});
  head_output(Stream{}, rows);
}

}  // namespace
}  // namespace pets::kernels::cuda
