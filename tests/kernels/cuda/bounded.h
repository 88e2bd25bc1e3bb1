// References in double precision that know how far float arithmetic may be from them, so that tests need no fitted tolerances.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tests/kernels/cuda/device_array.h"

#include "kernels/activation/activation.h"

namespace pets::kernels::cuda {

inline constexpr double kFloatRounding = 0x1p-24;

/// An exact value, and the largest distance from it of what a kernel may have computed.
struct Bounded {
  double value = 0;
  double error = 0;
  double magnitude() const { return std::abs(value) + error; }
};
using BoundedRow = std::vector<Bounded>;

inline BoundedRow exact(const float* values, size_t count) {
  BoundedRow row(count);
  for (size_t i = 0; i < count; ++i) row[i].value = values[i];
  return row;
}

/// `count` further roundings of float, each relative to x.
inline Bounded with_roundings(Bounded x, double count) { return {x.value, x.error + count * kFloatRounding * x.magnitude()}; }

inline Bounded operator+(Bounded a, Bounded b) { return with_roundings({a.value + b.value, a.error + b.error}, 1); }
inline Bounded operator*(Bounded a, Bounded b) {
  const double error = std::abs(a.value) * b.error + std::abs(b.value) * a.error + a.error * b.error;
  return with_roundings({a.value * b.value, error}, 1);
}
template <class Operation>
BoundedRow each(const BoundedRow& a, const BoundedRow& b, const Operation& operation) {
  BoundedRow result(a.size());
  for (size_t i = 0; i < a.size(); ++i) result[i] = operation(a[i], b[i]);
  return result;
}
inline BoundedRow operator+(const BoundedRow& a, const BoundedRow& b) { return each(a, b, std::plus<Bounded>()); }
inline BoundedRow operator*(const BoundedRow& a, const BoundedRow& b) { return each(a, b, std::multiplies<Bounded>()); }

/// T nearest to the float nearest to x, as a number.
template <class T>
double nearest(double x) {
  return as_float(as_type<T>(static_cast<float>(x)));
}

/// x rounded to T. Rounding is monotonic, so the error is known: none where all that x may be rounds to one value.
template <class T>
Bounded rounded_to(Bounded x) {
  const double value = nearest<T>(x.value);
  return {value, std::max(nearest<T>(x.value + x.error) - value, value - nearest<T>(x.value - x.error))};
}
template <class T>
BoundedRow rounded_to(BoundedRow row) {
  for (Bounded& x : row) x = rounded_to<T>(x);
  return row;
}

template <class T>
void expect_rounded(T found, Bounded expected) {
  EXPECT_GE(as_float(found), nearest<T>(expected.value - expected.error)) << expected.value << " within " << expected.error;
  EXPECT_LE(as_float(found), nearest<T>(expected.value + expected.error)) << expected.value << " within " << expected.error;
}

/// weight: [out][x.size()]. Sums in any order, each step rounded.
inline BoundedRow product(const std::vector<float>& weight, const BoundedRow& x) {
  BoundedRow y(weight.size() / x.size());
  for (size_t o = 0; o < y.size(); ++o) {
    double magnitudes = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double w = weight[o * x.size() + i];
      y[o].value += w * x[i].value;
      y[o].error += std::abs(w) * x[i].error;
      magnitudes += std::abs(w) * x[i].magnitude();
    }
    y[o].error += static_cast<double>(x.size() + 1) * kFloatRounding * magnitudes;
  }
  return y;
}

/// The variance is that of values within e of the exact ones, where e is bounded for each; the deviation is a norm of the row, so it
/// moves by at most the root mean square of e.
inline BoundedRow layer_norm(const BoundedRow& x, const BoundedRow& gamma, const BoundedRow& beta, double epsilon) {
  const auto width = static_cast<double>(x.size());
  const double additions = width / 32 + 8 + 5;  // of a lane, at most a vector more than others, and between lanes
  Bounded mean;
  double magnitudes = 0;
  for (const Bounded& v : x) {
    mean.value += v.value / width;
    mean.error += v.error / width;
    magnitudes += v.magnitude() / width;
  }
  mean.error += (additions + 1) * kFloatRounding * magnitudes;
  BoundedRow result(x.size());
  double variance = 0, squared_errors = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    result[i] = with_roundings({x[i].value - mean.value, x[i].error + mean.error}, 1);
    variance += result[i].value * result[i].value / width;
    squared_errors += result[i].error * result[i].error / width;
  }
  const double deviation = std::sqrt(variance + epsilon), deviation_error = std::sqrt(squared_errors);
  const double least = deviation - deviation_error;
  EXPECT_GT(least, 0) << "no bound";
  for (size_t i = 0; i < x.size(); ++i) {
    const double value = result[i].value / deviation;
    // Sum of squares, division, sum, root, quotient, product; those within the root count half.
    const Bounded normalized =
        with_roundings({value, (result[i].error + std::abs(value) * deviation_error) / least}, (additions + 3) / 2 + 3);
    result[i] = normalized * gamma[i] + beta[i];
  }
  return result;
}

/// Slopes are at most 1.13 (the exact GELU's); activation_cuda.h states the error of the function itself.
inline Bounded activated(Activation activation, Bounded x) {
  const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
  const auto value = [&](double v) {
    switch (activation) {
      case Activation::kNone:
        return v;
      case Activation::kRelu:
        return std::max(v, 0.0);
      case Activation::kGelu:
        return v * 0.5 * std::erfc(-v / std::sqrt(2.0));
      case Activation::kGeluTanh:
        return v * 0.5 * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
      case Activation::kSilu:
        return v * sigmoid(v);
      case Activation::kTanh:
        return std::tanh(v);
      case Activation::kSigmoid:
        return sigmoid(v);
      case Activation::kLeakyRelu:
        return v < 0 ? 0.01 * v : v;
      case Activation::kRelu6:
        return std::clamp(v, 0.0, 6.0);
      case Activation::kElu:
        return v < 0 ? std::expm1(v) : v;
      case Activation::kMish:
        return v * std::tanh(v > 700 ? v : std::log1p(std::exp(v)));
      case Activation::kQuickGelu:
        return v * sigmoid(1.702 * v);
    }
    return v;
  };
  return {value(x.value), 1.13 * x.error + 6 * kFloatRounding * std::max(1.0, x.magnitude())};
}
inline constexpr unsigned kActivations = 12;

/// Of fast_gelu, with the roundings of its steps: within so much of max(|result|, 2^-10). 2^-14.6; what was found is 2^-14.61.
inline constexpr double kFastGelu = 4.03e-5;

/// The activation as it is for T. The fast GELU's slope is the exact one's but for its relative error.
template <class T>
Bounded activated_as(Activation activation, Bounded x) {
  Bounded y = activated(activation, x);
  if (sizeof(T) < sizeof(float) && activation == Activation::kGelu) {
    y.error = 1.14 * x.error + kFastGelu * std::max(std::abs(y.value), 0x1p-10);
  }
  return y;
}

/// All 65,536 values, some of them infinite or not numbers.
inline std::vector<float> every_half() {
  std::vector<float> values(1U << 16U);
  for (uint32_t bits = 0; bits < values.size(); ++bits) values[bits] = float_from_half(static_cast<uint16_t>(bits));
  return values;
}

/// Random values, normally distributed.
class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  std::vector<float> floats(size_t count, float mean = 0, float deviation = 1) {
    std::vector<float> values(count);
    for (float& value : values) value = mean + deviation * normal_(engine_);
    return values;
  }
  uint32_t below(uint32_t end) { return static_cast<uint32_t>(engine_() % end); }

 private:
  std::mt19937_64 engine_;
  std::normal_distribution<float> normal_;
};

}  // namespace pets::kernels::cuda
