#include "runtime/serving/cost_model.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/strip.h"

namespace pets::serving {
namespace {

constexpr std::string_view kFamilyNames[kOperatorFamilies] = {"bias", "norm", "low_rank", "sparse", "mask", "scale", "bottleneck"};

double strips_of(double rows) { return std::ceil(rows / kernels::kStripRows); }

/// Solves the normal equations of a least squares fit by Gaussian elimination with pivoting; what the data does not determine stays 0.
template <std::size_t N>
class LeastSquares {
 public:
  void add(const std::array<double, N>& x, double y, double weight) {
    for (std::size_t i = 0; i < N; ++i) {
      for (std::size_t j = 0; j < N; ++j) a_[i][j] += weight * x[i] * x[j];
      b_[i] += weight * x[i] * y;
    }
  }
  std::array<double, N> solve() {
    std::array<double, N> scale{};
    for (std::size_t i = 0; i < N; ++i) scale[i] = a_[i][i] > 0 ? 1 / std::sqrt(a_[i][i]) : 0;
    for (std::size_t i = 0; i < N; ++i) {
      for (std::size_t j = 0; j < N; ++j) a_[i][j] *= scale[i] * scale[j];
      b_[i] *= scale[i];
    }
    std::array<double, N> x{};
    std::array<bool, N> used{};
    std::array<std::size_t, N> pivot_row{};
    std::array<bool, N> solved{};
    for (std::size_t column = 0; column < N; ++column) {
      std::size_t best = N;
      for (std::size_t row = 0; row < N; ++row) {
        if (!used[row] && (best == N || std::abs(a_[row][column]) > std::abs(a_[best][column]))) best = row;
      }
      if (best == N || std::abs(a_[best][column]) < 1e-9) continue;
      used[best] = solved[column] = true;
      pivot_row[column] = best;
      for (std::size_t row = 0; row < N; ++row) {
        if (row == best) continue;
        const double factor = a_[row][column] / a_[best][column];
        for (std::size_t j = 0; j < N; ++j) a_[row][j] -= factor * a_[best][j];
        b_[row] -= factor * b_[best];
      }
    }
    for (std::size_t column = 0; column < N; ++column) {
      if (solved[column]) x[column] = b_[pivot_row[column]] / a_[pivot_row[column]][column] * scale[column];
    }
    return x;
  }

 private:
  std::array<std::array<double, N>, N> a_{};
  std::array<double, N> b_{};
};

}  // namespace

std::string_view operator_family_name(OperatorFamily family) noexcept { return kFamilyNames[static_cast<std::size_t>(family)]; }

CostModel::CostModel(std::span<const AlphaPoint> alpha, std::span<const BetaPoint> beta) {
  // Queries and pairs first, by one fit over everything with a straight line in the strips; then the curve takes what is left at each
  // number of strips, so that it goes through the measured points in the mean.
  LeastSquares<4> line;
  for (const AlphaPoint& point : alpha) {
    if (!(point.seconds > 0)) continue;
    const double rows = static_cast<double>(point.queries) * point.length;
    line.add({1, strips_of(rows), static_cast<double>(point.queries), rows * point.length}, point.seconds,
             1 / (point.seconds * point.seconds));  // errors are shares of the time
  }
  const std::array<double, 4> fit = line.solve();
  per_query_ = std::max(fit[2], 0.0);
  per_pair_ = std::max(fit[3], 0.0);
  struct Rest {
    double strips, seconds;
  };
  std::vector<Rest> rest;
  for (const AlphaPoint& point : alpha) {
    if (!(point.seconds > 0)) continue;
    const double rows = static_cast<double>(point.queries) * point.length;
    const double own = point.seconds - per_query_ * point.queries - per_pair_ * rows * point.length;
    rest.push_back({strips_of(rows), std::max(own, 0.05 * point.seconds)});
  }
  std::sort(rest.begin(), rest.end(), [](const Rest& a, const Rest& b) { return a.strips < b.strips; });
  for (std::size_t i = 0; i < rest.size();) {
    std::size_t end = i;
    double sum = 0;
    while (end < rest.size() && rest[end].strips == rest[i].strips) sum += rest[end++].seconds;
    const double mean = sum / static_cast<double>(end - i);
    // Noise must not make more rows cheaper than fewer.
    curve_.push_back({rest[i].strips, curve_.empty() ? mean : std::max(mean, curve_.back().seconds)});
    i = end;
  }

  for (std::size_t f = 0; f < kOperatorFamilies; ++f) {
    LeastSquares<4> fit_family;
    for (const BetaPoint& point : beta) {
      if (static_cast<std::size_t>(point.family) != f) continue;
      const double rows = point.rows;
      family_[f].measured = true;
      const double weight = 1 / std::max(point.seconds * point.seconds, 1e-14);
      fit_family.add({1, point.work, rows, rows * point.work}, std::max(point.seconds, 0.0), std::min(weight, 1e12));
    }
    const std::array<double, 4> c = fit_family.solve();
    family_[f].fixed = c[0];
    family_[f].fixed_per_work = c[1];
    family_[f].per_row = c[2];
    family_[f].per_row_per_work = c[3];
  }
}

double CostModel::curve(double strips) const {
  if (curve_.empty()) return 0;
  if (curve_.size() == 1) return curve_[0].seconds * strips / curve_[0].strips;
  auto above = std::lower_bound(curve_.begin(), curve_.end(), strips, [](const CurvePoint& point, double s) { return point.strips < s; });
  if (above == curve_.begin()) ++above;
  if (above == curve_.end()) --above;
  const CurvePoint& a = *(above - 1);
  const CurvePoint& b = *above;
  const double seconds = a.seconds + (b.seconds - a.seconds) * (strips - a.strips) / (b.strips - a.strips);
  return std::max(seconds, curve_[0].seconds * std::min(1.0, strips / curve_[0].strips) * 0.5);
}

double CostModel::alpha(const BatchShape& shape) const {
  if (shape.rows == 0) return 0;
  const double seconds = curve(strips_of(shape.rows)) + per_query_ * shape.queries + per_pair_ * shape.pairs;
  return seconds * correction(shape.rows);
}

TaskCost CostModel::task_cost(const TaskWork& work) const {
  TaskCost cost;
  for (std::size_t f = 0; f < kOperatorFamilies; ++f) {
    if (work.work[f] <= 0 || !family_[f].measured) continue;
    cost.fixed += std::max(family_[f].fixed + family_[f].fixed_per_work * work.work[f], 0.0);
    cost.per_row += std::max(family_[f].per_row + family_[f].per_row_per_work * work.work[f], 0.0);
  }
  return cost;
}

uint32_t CostModel::best_rows(uint32_t most_rows, double slack) const {
  const auto per_strip = [&](uint32_t strips) { return curve(strips) / strips; };
  const uint32_t most = std::max(most_rows / static_cast<uint32_t>(kernels::kStripRows), 1U);
  double best = per_strip(most);
  for (uint32_t strips = 1; strips < most; ++strips) best = std::min(best, per_strip(strips));
  uint32_t fewest = most;
  for (uint32_t strips = most; strips >= 1; --strips) {
    if (per_strip(strips) <= best * (1 + slack)) fewest = strips;
  }
  return std::min(fewest * static_cast<uint32_t>(kernels::kStripRows), most_rows);
}

std::size_t CostModel::correction_slot(uint32_t rows) {
  const uint32_t strips = (rows + kernels::kStripRows - 1) / static_cast<uint32_t>(kernels::kStripRows);
  return std::min<std::size_t>(std::bit_width(strips), kCorrections - 1);
}

void CostModel::correct(uint32_t rows, double predicted, double measured) {
  if (!(predicted > 0) || !(measured > 0)) return;
  constexpr double kWeight = 0.125;  // follows a change of clock within about eight batches, one slow batch moves it little
  constexpr double kLeast = 1.0 / 16, kMost = 16;
  double& factor = correction_[correction_slot(rows)];
  // One batch that was held up (by another process) counts as at most twice its prediction.
  const double ratio = std::clamp(measured / predicted, 0.5, 2.0);
  factor = std::clamp(factor * (1 - kWeight + kWeight * ratio), kLeast, kMost);
}

}  // namespace pets::serving
