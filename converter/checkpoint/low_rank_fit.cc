#include "converter/checkpoint/low_rank_fit.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace pets::converter {
namespace {

/// Columns beyond the rank make the iteration converge where singular values lie close together.
constexpr uint64_t kOversampling = 8;
constexpr int kIterations = 8;
constexpr int kMaxSweeps = 60;

/// Deterministic uniform numbers in [-1, 1) (splitmix64): any distribution spans the space.
double next_random(uint64_t& state) {
  state += 0x9E3779B97F4A7C15U;
  uint64_t z = state;
  z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
  z ^= z >> 31U;
  return static_cast<double>(z >> 11U) * 0x1p-52 - 1.0;
}

/// [out][k] = matrix [out][in] x basis [in][k].
std::vector<double> times(const std::vector<double>& matrix, uint64_t out, uint64_t in, const std::vector<double>& basis, uint64_t k) {
  std::vector<double> result(out * k, 0.0);
  for (uint64_t o = 0; o < out; ++o) {
    double* row = result.data() + o * k;
    for (uint64_t i = 0; i < in; ++i) {
      const double factor = matrix[o * in + i];
      const double* from = basis.data() + i * k;
      for (uint64_t j = 0; j < k; ++j) row[j] += factor * from[j];
    }
  }
  return result;
}

/// [in][k] = transposed matrix x basis [out][k].
std::vector<double> transposed_times(const std::vector<double>& matrix, uint64_t out, uint64_t in, const std::vector<double>& basis,
                                     uint64_t k) {
  std::vector<double> result(in * k, 0.0);
  for (uint64_t o = 0; o < out; ++o) {
    const double* from = basis.data() + o * k;
    for (uint64_t i = 0; i < in; ++i) {
      const double factor = matrix[o * in + i];
      double* row = result.data() + i * k;
      for (uint64_t j = 0; j < k; ++j) row[j] += factor * from[j];
    }
  }
  return result;
}

/// Modified Gram-Schmidt, twice, over the k columns of [n][k]. A column that depends on earlier ones becomes 0.
void orthonormalise(std::vector<double>& basis, uint64_t n, uint64_t k) {
  const auto dot = [&](uint64_t a, uint64_t b) {
    double sum = 0;
    for (uint64_t i = 0; i < n; ++i) sum += basis[i * k + a] * basis[i * k + b];
    return sum;
  };
  for (uint64_t j = 0; j < k; ++j) {
    const double before = std::sqrt(dot(j, j));
    for (int pass = 0; pass < 2; ++pass) {
      for (uint64_t earlier = 0; earlier < j; ++earlier) {
        const double share = dot(earlier, j);
        for (uint64_t i = 0; i < n; ++i) basis[i * k + j] -= share * basis[i * k + earlier];
      }
    }
    const double after = std::sqrt(dot(j, j));
    const double factor = after > 1e-12 * before && after > 0 ? 1.0 / after : 0.0;
    for (uint64_t i = 0; i < n; ++i) basis[i * k + j] *= factor;
  }
}

/// Eigenvectors (columns of `vectors`) of a symmetric [k][k] matrix by cyclic Jacobi rotations; the eigenvalues end on its diagonal.
void diagonalise(std::vector<double>& matrix, std::vector<double>& vectors, uint64_t k) {
  vectors.assign(k * k, 0.0);
  for (uint64_t i = 0; i < k; ++i) vectors[i * k + i] = 1.0;
  for (int sweep = 0; sweep < kMaxSweeps; ++sweep) {
    double off = 0, diagonal = 0;
    for (uint64_t i = 0; i < k; ++i) {
      diagonal += matrix[i * k + i] * matrix[i * k + i];
      for (uint64_t j = 0; j < i; ++j) off += matrix[i * k + j] * matrix[i * k + j];
    }
    if (off <= 1e-30 * diagonal) return;
    for (uint64_t p = 0; p < k; ++p) {
      for (uint64_t q = p + 1; q < k; ++q) {
        const double apq = matrix[p * k + q];
        if (apq == 0) continue;
        const double theta = (matrix[q * k + q] - matrix[p * k + p]) / (2 * apq);
        const double t = (theta >= 0 ? 1.0 : -1.0) / (std::fabs(theta) + std::sqrt(theta * theta + 1));
        const double c = 1 / std::sqrt(t * t + 1), s = t * c;
        for (uint64_t i = 0; i < k; ++i) {
          const double ip = matrix[i * k + p], iq = matrix[i * k + q];
          matrix[i * k + p] = c * ip - s * iq;
          matrix[i * k + q] = s * ip + c * iq;
        }
        for (uint64_t i = 0; i < k; ++i) {
          const double pi = matrix[p * k + i], qi = matrix[q * k + i];
          matrix[p * k + i] = c * pi - s * qi;
          matrix[q * k + i] = s * pi + c * qi;
        }
        for (uint64_t i = 0; i < k; ++i) {
          const double ip = vectors[i * k + p], iq = vectors[i * k + q];
          vectors[i * k + p] = c * ip - s * iq;
          vectors[i * k + q] = s * ip + c * iq;
        }
      }
    }
  }
}

double remaining(const std::vector<double>& matrix, uint64_t out, uint64_t in, const LowRankOperator& low_rank) {
  double squares = 0;
  std::vector<double> row(in);
  for (uint64_t o = 0; o < out; ++o) {
    std::copy_n(matrix.begin() + static_cast<std::ptrdiff_t>(o * in), in, row.begin());
    for (uint64_t r = 0; r < low_rank.a.rows; ++r) {
      const auto factor = static_cast<double>(low_rank.b.values[o * low_rank.b.columns + r]);
      const float* a = low_rank.a.values.data() + r * in;
      for (uint64_t i = 0; i < in; ++i) row[i] -= factor * static_cast<double>(a[i]);
    }
    for (const double value : row) squares += value * value;
  }
  return squares;
}

}  // namespace

LowRankFit fit_low_rank(const std::vector<double>& matrix, uint64_t out, uint64_t in, uint32_t rank) {
  const uint64_t r = std::min({uint64_t{rank}, out, in});
  const uint64_t k = std::min({r + kOversampling, out, in});
  std::vector<double> right(in * k);
  uint64_t seed = 1;
  for (double& value : right) value = next_random(seed);
  std::vector<double> left;
  for (int iteration = 0; iteration < kIterations; ++iteration) {
    left = times(matrix, out, in, right, k);
    orthonormalise(left, out, k);
    right = transposed_times(matrix, out, in, left, k);
    if (iteration + 1 < kIterations) orthonormalise(right, in, k);
  }
  // Now matrix ~ left right^T with `left` orthonormal. right^T right = V L V^T gives the singular values sqrt(L), the left singular
  // vectors left V, and sqrt(L) times the right ones as right V.
  std::vector<double> gram(k * k, 0.0), vectors;
  for (uint64_t i = 0; i < in; ++i) {
    for (uint64_t p = 0; p < k; ++p) {
      for (uint64_t q = 0; q < k; ++q) gram[p * k + q] += right[i * k + p] * right[i * k + q];
    }
  }
  diagonalise(gram, vectors, k);
  std::vector<uint64_t> order(k);
  std::iota(order.begin(), order.end(), uint64_t{0});
  std::sort(order.begin(), order.end(), [&](uint64_t a, uint64_t b) { return gram[a * k + a] > gram[b * k + b]; });

  LowRankFit fit;
  LowRankOperator& low_rank = fit.low_rank;
  low_rank.a = {r, in, std::vector<float>(r * in, 0.0F)};
  low_rank.b = {out, r, std::vector<float>(out * r, 0.0F)};
  for (uint64_t j = 0; j < r; ++j) {
    const uint64_t column = order[j];
    const double singular = std::sqrt(std::max(0.0, gram[column * k + column]));
    if (singular == 0) continue;
    const double root = std::sqrt(singular);
    for (uint64_t o = 0; o < out; ++o) {
      double sum = 0;
      for (uint64_t p = 0; p < k; ++p) sum += left[o * k + p] * vectors[p * k + column];
      low_rank.b.values[o * r + j] = static_cast<float>(sum * root);
    }
    for (uint64_t i = 0; i < in; ++i) {
      double sum = 0;
      for (uint64_t p = 0; p < k; ++p) sum += right[i * k + p] * vectors[p * k + column];
      low_rank.a.values[j * in + i] = static_cast<float>(sum / root);
    }
  }
  for (const double value : matrix) fit.total_squares += value * value;
  fit.remaining_squares = remaining(matrix, out, in, low_rank);
  return fit;
}

}  // namespace pets::converter
