#include "converter/checkpoint/low_rank_fit.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <random>

namespace pets::converter {
namespace {

std::vector<double> random_matrix(uint64_t rows, uint64_t columns, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  std::vector<double> values(rows * columns);
  for (double& value : values) value = normal(generator);
  return values;
}

std::vector<double> product(const std::vector<double>& b, const std::vector<double>& a, uint64_t out, uint64_t r, uint64_t in) {
  std::vector<double> result(out * in, 0.0);
  for (uint64_t o = 0; o < out; ++o) {
    for (uint64_t k = 0; k < r; ++k) {
      for (uint64_t i = 0; i < in; ++i) result[o * in + i] += b[o * r + k] * a[k * in + i];
    }
  }
  return result;
}

TEST(LowRankFit, IsExactForAMatrixOfThatRank) {
  for (const auto& [out, in, r] : {std::array<uint64_t, 3>{48, 112, 5}, {112, 48, 1}, {7, 19, 7}, {1, 33, 1}, {33, 1, 1}}) {
    const auto matrix = product(random_matrix(out, r, 1), random_matrix(r, in, 2), out, r, in);
    const LowRankFit fit = fit_low_rank(matrix, out, in, static_cast<uint32_t>(r));
    EXPECT_EQ(fit.low_rank.a.rows, r);
    EXPECT_EQ(fit.low_rank.b.columns, r);
    EXPECT_LT(std::sqrt(fit.remaining_squares / fit.total_squares), 1e-6) << out << " " << in << " " << r;
  }
}

TEST(LowRankFit, LeavesTheSmallestSingularValuesOfADiagonalMatrix) {
  constexpr uint64_t kSize = 40;
  std::vector<double> matrix(kSize * kSize, 0.0);
  double total = 0, tail = 0;
  for (uint64_t i = 0; i < kSize; ++i) {
    const double value = 1.0 / static_cast<double>(1 + i);
    matrix[i * kSize + (i * 7) % kSize] = i % 2 == 0 ? value : -value;
    total += value * value;
    if (i >= 10) tail += value * value;
  }
  const LowRankFit fit = fit_low_rank(matrix, kSize, kSize, 10);
  EXPECT_NEAR(fit.total_squares, total, 1e-12);
  EXPECT_NEAR(fit.remaining_squares, tail, 1e-3 * tail);
}

TEST(LowRankFit, CapsTheRankAndKeepsAZeroMatrixZero) {
  const auto matrix = random_matrix(5, 9, 3);
  const LowRankFit fit = fit_low_rank(matrix, 5, 9, 100);
  EXPECT_EQ(fit.low_rank.a.rows, 5U);
  EXPECT_LT(fit.remaining_squares, 1e-10 * fit.total_squares);
  const LowRankFit zero = fit_low_rank(std::vector<double>(45, 0.0), 5, 9, 2);
  for (const float value : zero.low_rank.a.values) EXPECT_EQ(value, 0.0F);
  for (const float value : zero.low_rank.b.values) EXPECT_EQ(value, 0.0F);
}

TEST(LowRankFit, GivesTheSameBitsAgain) {
  const auto matrix = random_matrix(48, 64, 4);
  EXPECT_EQ(fit_low_rank(matrix, 48, 64, 6).low_rank.a.values, fit_low_rank(matrix, 48, 64, 6).low_rank.a.values);
}

}  // namespace
}  // namespace pets::converter
