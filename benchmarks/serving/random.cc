#include "benchmarks/serving/random.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace pets::benchmarks {
namespace {

constexpr double kLn2 = 0.693147180559945309417;

uint64_t splitmix(uint64_t& state) {
  uint64_t z = state += 0x9E3779B97F4A7C15;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

}  // namespace

double portable_log(double x) {
  const auto bits = std::bit_cast<uint64_t>(x);
  auto exponent = static_cast<int>(bits >> 52) - 1023;
  auto mantissa = std::bit_cast<double>((bits & ((uint64_t{1} << 52) - 1)) | (uint64_t{1023} << 52));
  if (mantissa > 1.4142135623730951) {
    mantissa /= 2;
    ++exponent;
  }
  // log m = 2 atanh(t), t = (m - 1) / (m + 1), at most 0.172: 12 terms.
  const double t = (mantissa - 1) / (mantissa + 1), square = t * t;
  double sum = 0;
  for (int k = 23; k >= 1; k -= 2) sum = sum * square + 1.0 / k;
  return exponent * kLn2 + 2 * t * sum;
}

double portable_exp(double x) {
  const auto whole = static_cast<int>(x / kLn2 + (x < 0 ? -0.5 : 0.5));
  const double rest = x - whole * kLn2;  // at most 0.35: 16 terms
  double sum = 1;
  for (int k = 16; k >= 1; --k) sum = 1 + sum * rest / k;
  return std::ldexp(sum, whole);
}

Random::Random(uint64_t seed) {
  for (uint64_t& word : state_) word = splitmix(seed);
}

uint64_t Random::next() {
  const uint64_t result = std::rotl(state_[0] + state_[3], 23) + state_[0];
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

uint64_t Random::below(uint64_t limit) {
  // The first 2^64 mod limit values would make some results more likely.
  const uint64_t uneven = (0 - limit) % limit;
  uint64_t value = next();
  while (value < uneven) value = next();
  return value % limit;
}

double Random::normal() {
  for (;;) {
    const double u = 2 * uniform() - 1, v = 2 * uniform() - 1, s = u * u + v * v;
    if (s > 0 && s < 1) return u * std::sqrt(-2 * portable_log(s) / s);
  }
}

Zipf::Zipf(uint32_t count, double exponent) : cumulative_(count) {
  double sum = 0;
  for (uint32_t rank = 0; rank < count; ++rank) {
    sum += portable_exp(-exponent * portable_log(rank + 1.0));
    cumulative_[rank] = sum;
  }
}

uint32_t Zipf::draw(Random& random) const {
  const double at = random.uniform() * cumulative_.back();
  const auto found = std::upper_bound(cumulative_.begin(), cumulative_.end(), at);
  return static_cast<uint32_t>(std::min<size_t>(found - cumulative_.begin(), cumulative_.size() - 1));
}

}  // namespace pets::benchmarks
