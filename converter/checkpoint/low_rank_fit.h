// The best low-rank approximation of a matrix (Eckart-Young), by randomized subspace iteration (Halko, Martinsson, Tropp 2011, algorithm
// 4.4) and a Jacobi eigenvalue solver, all in double and with a fixed seed: the same input gives the same bits.
#pragma once

#include <cstdint>
#include <vector>

#include "converter/model/operators.h"

namespace pets::converter {

struct LowRankFit {
  LowRankOperator low_rank;      // b a, scale 1; singular values are split evenly between the two
  double total_squares = 0;      // squared Frobenius norm of the matrix
  double remaining_squares = 0;  // of what b a (as float32) leaves of it
};

/// `matrix` is row-major [out][in]. The rank is capped at min(out, in). Exact to rounding where the matrix has at most this rank.
LowRankFit fit_low_rank(const std::vector<double>& matrix, uint64_t out, uint64_t in, uint32_t rank);

}  // namespace pets::converter
