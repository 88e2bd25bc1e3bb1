#include "kernels/attention/attention_cuda.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "tests/kernels/cuda/bounded.h"

namespace pets::kernels::cuda {
namespace {

constexpr float kNoRow = 12345.0F;  // what rows and columns that are nobody's hold in the output, as T rounds it

template <class T>
class AttentionCuda : public ::testing::Test {};
TYPED_TEST_SUITE(AttentionCuda, ActivationTypes);

/// Sequences one after another in [rows][3 * hidden], with rows of NaN, which are nobody's, between some of them.
struct Batch {
  Batch(uint32_t heads_, uint32_t head_size_, const std::vector<uint32_t>& lengths_)
      : heads(heads_), head_size(head_size_), hidden(heads_ * head_size_), lengths(lengths_) {
    for (size_t i = 0; i < lengths.size(); ++i) {
      if (i % 3 == 1) rows += 2;
      first.push_back(rows);
      rows += lengths[i];
    }
    qkv.assign(size_t{rows} * 3 * hidden, std::numeric_limits<float>::quiet_NaN());
  }
  /// part: 0 q, 1 k, 2 v
  float& at(uint32_t row, uint32_t part, uint32_t feature) { return qkv[(size_t{row} * 3 + part) * hidden + feature]; }
  template <class Value>
  void fill(Value value) {
    for (size_t i = 0; i < lengths.size(); ++i) {
      for (uint32_t position = 0; position < lengths[i]; ++position) {
        for (uint32_t part = 0; part < 3; ++part) {
          for (uint32_t f = 0; f < hidden; ++f) at(first[i] + position, part, f) = value(position, part, f % head_size);
        }
      }
    }
  }

  uint32_t heads, head_size, hidden;
  std::vector<uint32_t> lengths, first;
  uint32_t rows = 0;
  std::vector<float> qkv;
};

struct Expected {
  std::vector<double> values, tolerances;  // [head_size]
};

/// One head of one query in double precision. `exact_scores`: every term and sum of the scores is exact in float.
template <class T>
Expected reference(Batch& batch, uint32_t query, uint32_t sequence, uint32_t head, float scale, bool exact_scores) {
  const uint32_t keys = batch.lengths[sequence], first = batch.first[sequence], begin = head * batch.head_size;
  std::vector<double> weights(keys), errors(keys);
  double most = -std::numeric_limits<double>::infinity(), score_error = 0, sum = 0, sum_error = 0;
  for (uint32_t j = 0; j < keys; ++j) {
    double score = 0, magnitude = 0;
    for (uint32_t f = begin; f < begin + batch.head_size; ++f) {
      const double term = double{batch.at(query, 0, f)} * batch.at(first + j, 1, f);
      score += term;
      magnitude += std::abs(term);
    }
    weights[j] = score * scale;
    most = std::max(most, weights[j]);
    // The sum's float additions, in any order, and the product with scale.
    if (!exact_scores) score_error = std::max(score_error, (batch.head_size + 1) * 0x1p-24 * magnitude * scale);
  }
  // Smallest weights, of which the largest is 1: float's range ends, on the GPU maybe without subnormals; half's subnormals are rounded.
  const double smallest = std::is_same_v<T, Half> ? 0x1p-25 : 0x1p-126;
  for (uint32_t j = 0; j < keys; ++j) {
    const double exponent = weights[j] - most;
    weights[j] = std::exp(exponent);
    // Relative: the rounding to T; errors of its own score and of the maximum's; roundings of the difference, of the exponential and of
    // the rescaling by other exponentials, which grow with the exponent; float sums over the keys.
    errors[j] = smallest + weights[j] * (rounding<T>() + 2 * score_error + 4 * 0x1p-24 * (1 - exponent) + (keys + 16) * 0x1p-24);
    sum += weights[j];
    sum_error += errors[j];
  }
  Expected result;
  for (uint32_t f = begin; f < begin + batch.head_size; ++f) {
    double value = 0, error = 0;
    for (uint32_t j = 0; j < keys; ++j) {
      const double v = batch.at(first + j, 2, f);
      value += weights[j] / sum * v;
      error += errors[j] / sum * std::abs(v);
    }
    result.values.push_back(value);
    // A weight's error counts in the products and in the sum that they are divided by; then the result is rounded.
    result.tolerances.push_back(error + (sum_error / sum + rounding<T>()) * std::abs(value) + smallest);
  }
  return result;
}

/// What makes q, k and v of their products, of two tasks: sequence i is of slot i % 2. Slot 0 has nothing of its own and so the base's
/// biases; slot 1 has its own of q and v, and scales of k and v. A site's operators are followed by the next site's, a slot has four.
class Operators {
 public:
  Operators(uint32_t hidden, Random& random) : hidden_(hidden) {
    for (uint32_t part = 0; part < 3; ++part) {
      base_[part] = random.floats(hidden);
      own_bias_[part] = random.floats(hidden);
      own_scale_[part] = random.floats(hidden, 1);
      d_base_[part] = DeviceArray<float>(base_[part]);
      d_own_bias_[part] = DeviceArray<float>(own_bias_[part]);
      d_own_scale_[part] = DeviceArray<float>(own_scale_[part]);
    }
    std::vector<TaskLinear> linears(2 * kSites);
    for (const uint32_t part : {0U, 2U}) linears[kSites + 1 + part].bias = d_own_bias_[part].data();
    for (const uint32_t part : {1U, 2U}) linears[kSites + 1 + part].scale_output = d_own_scale_[part].data();
    d_linears_ = DeviceArray<TaskLinear>(linears);
  }
  template <class T>
  void set(Attention<T>& call) const {
    for (uint32_t part = 0; part < 3; ++part) call.bias[part] = d_base_[part].data();
    call.linears = {d_linears_.data() + 1, kSites};
  }
  /// In place, as one rounding of a float.
  template <class T>
  void apply(Batch& batch, std::vector<T>& qkv) const {
    for (uint32_t i = 0; i < batch.lengths.size(); ++i) {
      for (uint32_t row = batch.first[i]; row < batch.first[i] + batch.lengths[i]; ++row) {
        for (uint32_t part = 0; part < 3; ++part) {
          const std::vector<float>& bias = i % 2 == 1 && part != 1 ? own_bias_[part] : base_[part];
          for (uint32_t f = 0; f < hidden_; ++f) {
            const float scale = i % 2 == 1 && part != 0 ? own_scale_[part][f] : 1;
            T& value = qkv[(size_t{row} * 3 + part) * hidden_ + f];
            value = as_type<T>(std::fma(as_float(value), scale, bias[f]));
            batch.at(row, part, f) = as_float(value);
          }
        }
      }
    }
  }

 private:
  static constexpr uint32_t kSites = 4;
  uint32_t hidden_;
  std::vector<float> base_[3], own_bias_[3], own_scale_[3];
  DeviceArray<float> d_base_[3], d_own_bias_[3], d_own_scale_[3];
  DeviceArray<TaskLinear> d_linears_;
};

/// The tiles of all queries, or of first rows only: then row i of q and of the output is sequence i.
std::vector<AttentionTile> tiles_of(const Batch& batch, bool first_rows_only) {
  std::vector<AttentionTile> tiles;
  for (uint32_t i = 0; i < batch.lengths.size(); ++i) {
    const uint32_t keys = batch.lengths[i], first = batch.first[i];
    const auto slot = static_cast<uint16_t>(i % 2);
    if (first_rows_only) {
      tiles.push_back({i, first, 1, static_cast<uint16_t>(keys), slot});
      continue;
    }
    for (uint32_t begin = 0; begin < keys; begin += kQueryRows) {
      const auto queries = static_cast<uint16_t>(std::min(kQueryRows, keys - begin));
      tiles.push_back({first + begin, first, queries, static_cast<uint16_t>(keys), slot});
    }
  }
  std::reverse(tiles.begin(), tiles.end());
  return tiles;
}

/// [rows][hidden + 16]
template <class T>
std::vector<T> run(const Batch& batch, const std::vector<T>& qkv, float scale, bool first_rows_only, const Operators* operators = nullptr) {
  const uint32_t hidden = batch.hidden, out_stride = hidden + 16;
  const DeviceArray<T> d_qkv(qkv);
  std::vector<T> first_rows;
  for (const uint32_t row : batch.first) {
    const auto q = qkv.begin() + static_cast<std::ptrdiff_t>(size_t{row} * 3 * hidden);
    first_rows.insert(first_rows.end(), q, q + hidden);
  }
  const DeviceArray<T> d_first_rows(first_rows);
  const size_t rows = first_rows_only ? batch.lengths.size() : batch.rows;
  const DeviceArray<T> d_out(std::vector<T>(rows * out_stride, as_type<T>(kNoRow)));
  const std::vector<AttentionTile> tiles = tiles_of(batch, first_rows_only);
  const DeviceArray<AttentionTile> d_tiles(tiles);
  const auto count = static_cast<uint32_t>(tiles.size());
  const DeviceArray<uint32_t> d_count(std::vector<uint32_t>{count});

  Attention<T> call;
  call.q = first_rows_only ? d_first_rows.data() : d_qkv.data();
  call.k = d_qkv.data() + hidden;
  call.v = d_qkv.data() + 2 * size_t{hidden};
  call.q_stride = first_rows_only ? hidden : 3 * hidden;
  call.kv_stride = 3 * hidden;
  call.out = d_out.data();
  call.out_stride = out_stride;
  call.heads = batch.heads;
  call.head_size = batch.head_size;
  call.scale = scale;
  call.tiles = d_tiles.data();
  call.tile_count = d_count.data();
  call.most_tiles = count + 2;
  if (operators != nullptr) operators->set(call);
  attention(Stream{}, call);
  return d_out.read();
}

/// Rounds the batch to T, runs it, and compares all of the output.
template <class T>
void check(Batch& batch, float scale, bool exact_scores) {
  const std::vector<T> qkv = rounded<T>(batch.qkv);
  const std::vector<T> found = run(batch, qkv, scale, false), found_first = run(batch, qkv, scale, true);
  const uint32_t out_stride = batch.hidden + 16;
  const float untouched = as_float(as_type<T>(kNoRow));
  std::vector<bool> named(found.size());
  for (uint32_t i = 0; i < batch.lengths.size(); ++i) {
    for (uint32_t position = 0; position < batch.lengths[i]; ++position) {
      const uint32_t row = batch.first[i] + position;
      for (uint32_t head = 0; head < batch.heads; ++head) {
        const Expected expected = reference<T>(batch, row, i, head, scale, exact_scores);
        for (uint32_t f = 0; f < batch.head_size; ++f) {
          const size_t at = size_t{row} * out_stride + head * batch.head_size + f;
          named[at] = true;
          ASSERT_NEAR(as_float(found[at]), expected.values[f], expected.tolerances[f])
              << "sequence " << i << " of " << batch.lengths[i] << " position " << position << " head " << head << " feature " << f;
        }
      }
    }
    // A query alone in its tile has the very result that it has among others.
    for (uint32_t f = 0; f < out_stride; ++f) {
      ASSERT_EQ(as_float(found_first[i * out_stride + f]), as_float(found[size_t{batch.first[i]} * out_stride + f]))
          << "sequence " << i << ' ' << f;
    }
  }
  for (size_t at = 0; at < found.size(); ++at) {
    if (!named[at]) {
      ASSERT_EQ(as_float(found[at]), untouched) << "row " << at / out_stride << " column " << at % out_stride;
    }
  }
}

TYPED_TEST(AttentionCuda, EveryQuerySeesItsSequence) {
  for (const uint32_t head_size : {16U, 32U, 48U, 64U, 128U}) {
    const uint64_t seed = std::random_device()();
    SCOPED_TRACE(::testing::Message() << "head size " << head_size << " seed " << seed);
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal;
    Batch batch(2, head_size, {1, 7, 16, 19, 33, 111});
    batch.fill([&](uint32_t, uint32_t, uint32_t) { return normal(random); });
    check<TypeParam>(batch, 1.0F / std::sqrt(static_cast<float>(head_size)), false);
    if (this->HasFatalFailure()) return;
  }
}

// Integers, so that every score is exact: q . k = +-2^14 + small terms + a term that rises (or falls) from key to key, so that in the end
// the exponents are of moderate size, with another maximum in every block of keys.
TYPED_TEST(AttentionCuda, LargeScoresNeitherOverflowNorVanish) {
  for (const uint32_t head_size : {16U, 64U}) {
    const uint64_t seed = std::random_device()();
    SCOPED_TRACE(::testing::Message() << "head size " << head_size << " seed " << seed);
    std::mt19937_64 random(seed);
    std::uniform_int_distribution<int> small(-1, 1);
    Batch batch(1, head_size, {150, 33});
    batch.fill([&](uint32_t position, uint32_t part, uint32_t f) {
      const bool is_query = part == 0, is_value = part == 2;
      if (!is_value && f == 0) return is_query && position % 2 == 1 ? -128.0F : 128.0F;
      if (!is_value && f == 1) return is_query ? (position % 4 < 2 ? 1.0F : -1.0F) : static_cast<float>(position);
      return static_cast<float>(small(random));
    });
    check<TypeParam>(batch, 0.25F, true);
    if (this->HasFatalFailure()) return;
  }
}

// Scores so far apart that one key takes all.
TYPED_TEST(AttentionCuda, TheLargestScoreTakesAll) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  std::uniform_int_distribution<int> integer(-128, 128);
  Batch batch(1, 32, {100});
  batch.fill([&](uint32_t, uint32_t, uint32_t) { return static_cast<float>(integer(random)); });
  check<TypeParam>(batch, 0.25F, true);
}

// What the kernel makes of products is bit for bit what it makes of q, k and v that were biased before.
TYPED_TEST(AttentionCuda, ProductsTakeTheScalesAndBiasesOfTheirTask) {
  for (const uint32_t head_size : {16U, 48U, 64U, 128U}) {
    const uint64_t seed = std::random_device()();
    SCOPED_TRACE(::testing::Message() << "head size " << head_size << " seed " << seed);
    Random random(seed);
    Batch batch(2, head_size, {19, 16, 1, 70, 33});
    batch.fill([&](uint32_t, uint32_t, uint32_t) { return random.floats(1)[0]; });
    const Operators operators(batch.hidden, random);
    const float scale = 1.0F / std::sqrt(static_cast<float>(head_size));
    std::vector<TypeParam> qkv = rounded<TypeParam>(batch.qkv);
    const std::vector<TypeParam> found = run(batch, qkv, scale, false, &operators), first = run(batch, qkv, scale, true, &operators);
    operators.apply(batch, qkv);
    const std::vector<TypeParam> expected = run(batch, qkv, scale, false), expected_first = run(batch, qkv, scale, true);
    for (size_t i = 0; i < found.size(); ++i) ASSERT_EQ(as_float(found[i]), as_float(expected[i])) << i;
    for (size_t i = 0; i < first.size(); ++i) ASSERT_EQ(as_float(first[i]), as_float(expected_first[i])) << i;
  }
}

// Alone, the bias is infinite as half; keys that a block has no rows for must not get it.
TEST(AttentionCudaBias, OutOfRangeStaysOutOfOtherKeys) {
  Batch batch(1, 16, {5});
  batch.fill([](uint32_t, uint32_t part, uint32_t) { return part == 2 ? -60000.0F : 0.0F; });
  const std::vector<Half> qkv = rounded<Half>(batch.qkv);
  const DeviceArray<Half> d_qkv(qkv), d_out(std::vector<Half>(5 * 16));
  const DeviceArray<float> none(std::vector<float>(16, 0.0F)), bias(std::vector<float>(16, 70000.0F));
  const DeviceArray<AttentionTile> tiles({{0, 0, 5, 5, 0}});
  const DeviceArray<uint32_t> count({1});
  const DeviceArray<TaskLinear> linears(std::vector<TaskLinear>(3));
  Attention<Half> call;
  call.q = d_qkv.data();
  call.k = d_qkv.data() + 16;
  call.v = d_qkv.data() + 32;
  call.q_stride = call.kv_stride = 48;
  call.out = d_out.data();
  call.out_stride = 16;
  call.bias[0] = call.bias[1] = none.data();
  call.bias[2] = bias.data();
  call.linears = {linears.data(), 3};
  call.heads = 1;
  call.head_size = 16;
  call.scale = 1;
  call.tiles = tiles.data();
  call.tile_count = count.data();
  call.most_tiles = 1;
  attention(Stream{}, call);
  // All scores are equal and so are all values: their mean, which a few roundings of float do not move to another half.
  const float value = as_float(as_type<Half>(as_float(qkv[32]) + 70000.0F));
  for (const Half found : d_out.read()) EXPECT_EQ(as_float(found), value);
}

TEST(AttentionCudaLong, TheLongestSequence) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  Batch batch(1, 64, {512});
  batch.fill([&](uint32_t, uint32_t, uint32_t) { return normal(random); });
  check<Half>(batch, 0.125F, false);
}

}  // namespace
}  // namespace pets::kernels::cuda
