// What a batch costs: the two latency models of the PetS paper (section 5: alpha, the shared operators; beta, the task-specific ones), in
// the form that this engine has.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace pets::serving {

/// Families of PET operators that are measured apart.
enum class OperatorFamily : uint8_t { kBias, kNorm, kLowRank, kSparse, kMask, kScale, kBottleneck };
inline constexpr std::size_t kOperatorFamilies = 7;
/// "bias", "low_rank", ...: the names of operators in bundles.
std::string_view operator_family_name(OperatorFamily family) noexcept;

/// What a task's operators work on, by family, over all layers. Multiply-adds a row for low_rank, sparse and bottleneck; weights of the
/// masked linears; values a row for bias, norm and scale. 0: the task has none.
struct TaskWork {
  std::array<double, kOperatorFamilies> work{};
  double& operator[](OperatorFamily family) { return work[static_cast<std::size_t>(family)]; }
  double operator[](OperatorFamily family) const { return work[static_cast<std::size_t>(family)]; }
};

/// Seconds that a task adds to a batch: `fixed` once where it has rows there, `per_row` for each.
struct TaskCost {
  double fixed = 0;
  double per_row = 0;

  double seconds(uint32_t rows) const { return rows == 0 ? 0 : fixed + per_row * rows; }
};

/// A measured batch without PET operators.
struct AlphaPoint {
  uint32_t queries = 0;
  uint32_t length = 0;  ///< tokens a query
  double seconds = 0;
};

/// A measured difference: what one family adds to a batch for one task.
struct BetaPoint {
  OperatorFamily family = OperatorFamily::kBias;
  double work = 0;  ///< as in TaskWork
  uint32_t rows = 0;
  double seconds = 0;
};

/// Of one batch, whatever order its queries are in.
struct BatchShape {
  uint32_t rows = 0;  ///< padding included
  uint32_t queries = 0;
  double pairs = 0;  ///< of a row and a key: the sum of the squared lengths

  /// A batch of so many rows in queries of 32 tokens, the last one what is left: what a full batch is measured by.
  static BatchShape usual(uint32_t rows) {
    constexpr uint32_t kLength = 32;
    BatchShape shape;
    while (shape.rows < rows) shape.add(rows - shape.rows < kLength ? rows - shape.rows : kLength);
    return shape;
  }

  void add(uint32_t length) {
    rows += length;
    ++queries;
    pairs += static_cast<double>(length) * length;
  }
};

/// Predicts seconds. Immutable but for the correction; not thread-safe.
///
/// alpha(rows, queries, pairs) = curve(strips(rows)) + per_query * queries + per_pair * pairs, where `curve` goes linearly from one
/// measured number of rows to the next: few rows are slower a row, a full batch is at its best rate. beta(task, rows) = fixed + per_row *
/// rows, both linear in the task's work, by family. The coefficients are least squares fits of the measured points, none of them negative;
/// `curve` never falls, and goes on at the slope of its end or of a straight line through all points, whichever is more. Of batches of at
/// least eight times that line's start, rows behind the start never get slower, where such a curve is within 5 % of what was measured: else
/// a strategy that looks for the best rate would find the point with the luckiest noise, and think two batches as good as one.
class CostModel {
 public:
  CostModel() = default;
  /// At least one point each of alpha with different numbers of rows is needed for a slope; without beta points PET operators cost nothing.
  CostModel(std::span<const AlphaPoint> alpha, std::span<const BetaPoint> beta);

  /// Seconds of the shared operators, correction included.
  double alpha(const BatchShape& shape) const;
  /// Of a task's operators.
  TaskCost task_cost(const TaskWork& work) const;
  /// The fewest rows whose seconds a row are within `slack` of the best up to `most_rows`: what a batch should have.
  uint32_t best_rows(uint32_t most_rows, double slack = 0.01) const;

  /// Tells what a batch really took; later predictions of batches of about as many rows follow (an exponentially weighted mean of the
  /// ratio). `predicted`: what this model said of it.
  void correct(uint32_t rows, double predicted, double measured);
  /// The factor on batches of so many rows; 1 at first.
  double correction(uint32_t rows) const { return correction_[correction_slot(rows)]; }

 private:
  struct FamilyFit {
    double fixed = 0, fixed_per_work = 0, per_row = 0, per_row_per_work = 0;
    bool measured = false;
  };
  struct CurvePoint {
    double strips = 0, seconds = 0;
  };
  static constexpr std::size_t kCorrections = 12;  // by powers of two of strips
  static std::size_t correction_slot(uint32_t rows);
  double curve(uint32_t strips) const;
  /// Of points in ascending order; `start`: seconds of a straight line through them at no strips.
  void fit_curve(std::span<const CurvePoint> points, double start);

  std::vector<CurvePoint> curve_;  // ascending in strips
  std::vector<double> by_strips_;  // the curve, tabulated as far as batches usually go
  double per_query_ = 0, per_pair_ = 0;
  double slope_beyond_ = 0;  // seconds a strip behind the last point
  std::array<FamilyFit, kOperatorFamilies> family_{};
  std::array<double, kCorrections> correction_ = ones();
  static constexpr std::array<double, kCorrections> ones() {
    std::array<double, kCorrections> all{};
    all.fill(1.0);
    return all;
  }
};

}  // namespace pets::serving
