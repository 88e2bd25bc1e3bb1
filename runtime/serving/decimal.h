// Exact decimal numbers for reports. printf's own depend on the locale, and doubles round a long sum of nanoseconds.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

namespace pets::serving {

/// Appends value / 10^places without trailing zeros: (1500, 3) is "1.5".
inline void append_decimal(std::string& out, uint64_t value, size_t places) {
  std::string digits = std::to_string(value);
  if (digits.size() <= places) digits.insert(0, places + 1 - digits.size(), '0');
  digits.insert(digits.size() - places, 1, '.');
  digits.erase(digits.find_last_not_of('0') + 1);
  if (digits.back() == '.') digits.pop_back();
  out += digits;
}

/// Nanoseconds of a duration; 0 for negative ones and NaN, at most 104 days (as Histogram::kLongest).
inline uint64_t nanoseconds_of(double seconds) {
  constexpr double kLongestSeconds = 9007199.254740992;
  if (!(seconds > 0)) return 0;
  return static_cast<uint64_t>(std::llround(std::fmin(seconds, kLongestSeconds) * 1e9));
}

}  // namespace pets::serving
