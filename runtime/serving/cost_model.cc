#include "runtime/serving/cost_model.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/strip.h"

namespace pets::serving {
namespace {

constexpr std::string_view kFamilyNames[kOperatorFamilies] = {"bias", "norm", "low_rank", "sparse", "mask", "scale", "bottleneck"};

constexpr auto kRows = static_cast<uint32_t>(kernels::kStripRows);

uint32_t strips_of(uint32_t rows) { return rows / kRows + (rows % kRows != 0 ? 1 : 0); }
/// Rows of a measured batch.
uint32_t rows_of(const AlphaPoint& point) { return point.queries * point.length; }

/// Least squares with coefficients that are not negative, by the normal equations: of few unknowns every subset that may differ from 0 is
/// tried. What the data does not determine stays 0.
template <std::size_t N>
class LeastSquares {
 public:
  void add(const std::array<double, N>& x, double y, double weight) {
    for (std::size_t i = 0; i < N; ++i) {
      for (std::size_t j = 0; j < N; ++j) a_[i][j] += weight * x[i] * x[j];
      b_[i] += weight * x[i] * y;
    }
  }
  std::array<double, N> solve() const {
    std::array<double, N> best{};
    double best_rest = 0;  // the sum of squares, less that of zeros
    for (unsigned subset = 1; subset < 1U << N; ++subset) {
      std::array<double, N> x{};
      if (!solve_subset(subset, x)) continue;
      double rest = 0;
      for (std::size_t i = 0; i < N; ++i) {
        rest -= 2 * b_[i] * x[i];
        for (std::size_t j = 0; j < N; ++j) rest += x[i] * a_[i][j] * x[j];
      }
      if (!(rest < best_rest)) continue;
      best_rest = rest;
      best = x;
    }
    return best;
  }

 private:
  /// Gaussian elimination of the chosen unknowns, scaled to a diagonal of ones. False where they are not determined or one is negative.
  bool solve_subset(unsigned subset, std::array<double, N>& x) const {
    constexpr double kLeastPivot = 1e-10;
    std::array<std::size_t, N> chosen{};
    std::size_t count = 0;
    for (std::size_t i = 0; i < N; ++i) {
      if ((subset >> i & 1U) == 0) continue;
      if (!(a_[i][i] > 0)) return false;
      chosen[count++] = i;
    }
    std::array<std::array<double, N>, N> a{};
    std::array<double, N> b{}, scale{};
    for (std::size_t i = 0; i < count; ++i) scale[i] = 1 / std::sqrt(a_[chosen[i]][chosen[i]]);
    for (std::size_t i = 0; i < count; ++i) {
      for (std::size_t j = 0; j < count; ++j) a[i][j] = a_[chosen[i]][chosen[j]] * scale[i] * scale[j];
      b[i] = b_[chosen[i]] * scale[i];
    }
    for (std::size_t column = 0; column < count; ++column) {  // positive semidefinite: the diagonal is the pivot
      if (!(a[column][column] > kLeastPivot)) return false;
      for (std::size_t row = 0; row < count; ++row) {
        if (row == column) continue;
        const double factor = a[row][column] / a[column][column];
        for (std::size_t j = column; j < count; ++j) a[row][j] -= factor * a[column][j];
        b[row] -= factor * b[column];
      }
    }
    for (std::size_t i = 0; i < count; ++i) {
      const double value = b[i] / a[i][i] * scale[i];
      if (!(value >= 0)) return false;
      x[chosen[i]] = value;
    }
    return true;
  }

  std::array<std::array<double, N>, N> a_{};
  std::array<double, N> b_{};
};

/// Isotonic regression: values that fall from one to the next are pooled into their weighted mean.
void make_rising(std::span<double> values, std::span<const double> weights) {
  struct Pool {
    double sum = 0, weight = 0;
    std::size_t size = 0;
    double mean() const { return sum / weight; }
  };
  std::vector<Pool> pools;
  for (std::size_t i = 0; i < values.size(); ++i) {
    Pool pool{values[i] * weights[i], weights[i], 1};
    for (; !pools.empty() && pools.back().mean() >= pool.mean(); pools.pop_back()) {
      pool = {pool.sum + pools.back().sum, pool.weight + pools.back().weight, pool.size + pools.back().size};
    }
    pools.push_back(pool);
  }
  std::size_t next = 0;
  for (const Pool& pool : pools) {
    for (std::size_t i = 0; i < pool.size; ++i) values[next++] = pool.mean();
  }
}

}  // namespace

std::string_view operator_family_name(OperatorFamily family) noexcept { return kFamilyNames[static_cast<std::size_t>(family)]; }

CostModel::CostModel(std::span<const AlphaPoint> alpha, std::span<const BetaPoint> beta) {
  // Queries and pairs first, by one fit over everything with a straight line in the strips; then the curve takes what is left at each
  // number of strips, so that it goes through the measured points in the mean.
  LeastSquares<4> line;
  for (const AlphaPoint& point : alpha) {
    if (!(point.seconds > 0)) continue;
    const double rows = rows_of(point);
    line.add({1, static_cast<double>(strips_of(rows_of(point))), static_cast<double>(point.queries), rows * point.length}, point.seconds,
             1 / (point.seconds * point.seconds));  // errors are shares of the time
  }
  const std::array<double, 4> fit = line.solve();
  per_query_ = fit[2];
  per_pair_ = fit[3];
  std::vector<CurvePoint> rest;
  for (const AlphaPoint& point : alpha) {
    if (!(point.seconds > 0)) continue;
    const double rows = rows_of(point);
    const double own = point.seconds - per_query_ * point.queries - per_pair_ * rows * point.length;
    rest.push_back({static_cast<double>(strips_of(rows_of(point))), std::max(own, 0.05 * point.seconds)});
  }
  std::sort(rest.begin(), rest.end(), [](const CurvePoint& a, const CurvePoint& b) { return a.strips < b.strips; });
  fit_curve(rest, fit[0]);
  if (curve_.size() >= 2) {
    const CurvePoint& a = curve_[curve_.size() - 2];
    const CurvePoint& b = curve_.back();
    // The line's slope where noise has made the end flat: else any number of rows more would cost nothing.
    slope_beyond_ = std::max((b.seconds - a.seconds) / (b.strips - a.strips), fit[1]);
  }
  constexpr uint32_t kTabulated = 513;  // 8,192 rows: strategies ask many times a plan
  std::vector<double> by_strips(kTabulated);
  for (uint32_t strips = 0; strips < kTabulated; ++strips) by_strips[strips] = curve(strips);
  by_strips_ = std::move(by_strips);

  // Differences carry the noise of the whole batches, so a small one says little: errors count as shares of what a point of so many rows
  // and so much work takes about, not of what was measured.
  constexpr double kFixedRows = 32;
  for (std::size_t f = 0; f < kOperatorFamilies; ++f) {
    const auto is_of_family = [&](const BetaPoint& point) { return static_cast<std::size_t>(point.family) == f; };
    double work = 0;
    std::size_t count = 0;
    for (const BetaPoint& point : beta) {
      if (!is_of_family(point)) continue;
      work += point.work;
      ++count;
    }
    if (count == 0) continue;
    work /= static_cast<double>(count);
    LeastSquares<4> fit_family;
    for (const BetaPoint& point : beta) {
      if (!is_of_family(point)) continue;
      const double rows = point.rows, share = point.work / work;
      const double usual = (rows + kFixedRows) * (share + 1);
      fit_family.add({1, share, rows, rows * share}, point.seconds, 1 / (usual * usual));
    }
    const std::array<double, 4> c = fit_family.solve();
    family_[f] = {c[0], c[1] / work, c[2], c[3] / work, true};
  }
}

void CostModel::fit_curve(std::span<const CurvePoint> rest, double start) {
  constexpr double kLarge = 8;  // starts: of fewer strips the rate depends on how they happen to be shared among workers
  constexpr double kNoise = 0.05;
  std::vector<double> measured, points, falling;
  for (std::size_t i = 0; i < rest.size();) {
    CurvePoint mean{rest[i].strips, 0};
    double count = 0;
    for (; i < rest.size() && rest[i].strips == mean.strips; ++i, ++count) mean.seconds += rest[i].seconds;
    mean.seconds /= count;
    curve_.push_back(mean);
    measured.push_back(mean.seconds);
    points.push_back(count);
  }
  make_rising(measured, points);
  const auto large = static_cast<std::size_t>(
      std::find_if(measured.begin(), measured.end(), [&](double seconds) { return seconds >= kLarge * start; }) - measured.begin());
  for (std::size_t i = large; i < curve_.size(); ++i) falling.push_back((start - curve_[i].seconds) / curve_[i].strips);  // minus the rate
  make_rising(falling, std::span(points).subspan(large));
  std::vector<double> smooth = measured;
  bool within = true;
  for (std::size_t i = large; i < curve_.size(); ++i) {
    smooth[i] = start - falling[i - large] * curve_[i].strips;
    within = within && std::abs(smooth[i] / curve_[i].seconds - 1) <= kNoise;
  }
  make_rising(smooth, points);
  for (std::size_t i = 0; i < curve_.size(); ++i) curve_[i].seconds = within ? smooth[i] : measured[i];
}

double CostModel::curve(uint32_t strip_count) const {
  if (strip_count < by_strips_.size()) return by_strips_[strip_count];
  const double strips = strip_count;
  if (curve_.empty()) return 0;
  const CurvePoint &first = curve_.front(), &last = curve_.back();
  if (curve_.size() == 1) return first.seconds * strips / first.strips;
  if (strips >= last.strips) return last.seconds + slope_beyond_ * (strips - last.strips);
  const auto above =
      std::upper_bound(curve_.begin() + 1, curve_.end(), strips, [](double s, const CurvePoint& point) { return s < point.strips; });
  const CurvePoint& a = *(above - 1);
  const CurvePoint& b = *above;
  const double seconds = a.seconds + (b.seconds - a.seconds) * (strips - a.strips) / (b.strips - a.strips);
  return std::max(seconds, first.seconds * std::min(1.0, strips / first.strips) * 0.5);
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
    cost.fixed += family_[f].fixed + family_[f].fixed_per_work * work.work[f];
    cost.per_row += family_[f].per_row + family_[f].per_row_per_work * work.work[f];
  }
  return cost;
}

uint32_t CostModel::best_rows(uint32_t most_rows, double slack) const {
  if (curve_.empty()) return most_rows;
  const auto per_strip = [&](uint32_t strips) { return curve(strips) / strips; };
  const uint32_t most = std::max(most_rows / kRows, 1U);
  double best = per_strip(most);
  for (uint32_t strips = 1; strips < most; ++strips) best = std::min(best, per_strip(strips));
  uint32_t fewest = most;
  for (uint32_t strips = most; strips >= 1; --strips) {
    if (per_strip(strips) <= best * (1 + slack)) fewest = strips;
  }
  return std::min(fewest * kRows, most_rows);
}

std::size_t CostModel::correction_slot(uint32_t rows) { return std::min<std::size_t>(std::bit_width(strips_of(rows)), kCorrections - 1); }

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
