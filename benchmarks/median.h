// The median, which is what this project's benchmarks report.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace pets::benchmarks {

/// Of an even number of values the greater of the two in the middle; of none 0.
inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace pets::benchmarks
