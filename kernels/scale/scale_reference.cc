#include <cmath>

#include "kernels/reference/reference_kernels.h"
#include "kernels/scale/scale.h"

namespace pets::kernels::reference {
namespace {

/// y[f][row] = value(f, index of [f][row]) for the rows in `lanes`.
template <class Value>
void each(size_t features, LaneMask lanes, float* y, Value value) {
  for (size_t f = 0; f < features; ++f) {
    for (uint32_t row = 0; row < kStripRows; ++row) {
      const size_t i = f * kStripRows + row;
      if (has_row(lanes, row)) y[i] = value(f, i);
    }
  }
}

}  // namespace

void scale_features(const float* x, const float* factor, size_t features, LaneMask lanes, float* y) {
  each(features, lanes, y, [=](size_t f, size_t i) { return x[i] * factor[f]; });
}

void scale_bias(const float* factor, const float* bias, size_t features, LaneMask lanes, float* y) {
  each(features, lanes, y, [=](size_t f, size_t i) { return bias ? std::fma(y[i], factor[f], bias[f]) : y[i] * factor[f]; });
}

void add(const float* a, const float* b, size_t features, float* y) {
  each(features, kAllLanes, y, [=](size_t, size_t i) { return a[i] + b[i]; });
}

void scale(const float* a, float factor, size_t features, float* y) {
  each(features, kAllLanes, y, [=](size_t, size_t i) { return a[i] * factor; });
}

void blend(const float* x, size_t features, LaneMask lanes, float* y) {
  each(features, lanes, y, [=](size_t, size_t i) { return x[i]; });
}

void broadcast(const float* value, size_t features, LaneMask lanes, float* y) {
  each(features, lanes, y, [=](size_t f, size_t) { return value[f]; });
}

}  // namespace pets::kernels::reference
