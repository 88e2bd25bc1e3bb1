// Random numbers that are the same on every platform: nothing but integers, the four operations and square roots, which IEEE 754 rounds
// one way. The distributions and logarithms of standard libraries differ from one to the next.
#pragma once

#include <cstdint>
#include <vector>

namespace pets::benchmarks {

/// Natural logarithm of a positive normal number, and the exponential of one between -700 and 700; within some 1e-15 of the exact value.
double portable_log(double x);
double portable_exp(double x);

/// xoshiro256++ (Blackman and Vigna, 2019), seeded by splitmix64.
class Random {
 public:
  explicit Random(uint64_t seed);

  uint64_t next();
  /// In [0, 1), a multiple of 2^-53.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  /// Below `limit`, which is not 0.
  uint64_t below(uint64_t limit);
  /// Of mean 1.
  double exponential() { return -portable_log(1 - uniform()); }
  /// Of mean 0 and deviation 1: Marsaglia's polar method, the second value is not kept.
  double normal();

 private:
  uint64_t state_[4];
};

/// Ranks 0 .. count-1 with probabilities in proportion to (rank + 1)^-exponent. 0: all alike.
class Zipf {
 public:
  Zipf(uint32_t count, double exponent);
  uint32_t draw(Random& random) const;

 private:
  std::vector<double> cumulative_;
};

}  // namespace pets::benchmarks
