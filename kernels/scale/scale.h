// Per-channel factors (IA3, DoRA, learned adapter scaling), residual adds and lane blends: the element-wise kernels on strips.
#pragma once

#include "kernels/strip.h"

namespace pets::kernels {

/// y[f][row] = x[f][row] * factor[f] for the rows in `lanes`; other rows of y keep their bits. y may be x.
using ScaleFeaturesFn = void (*)(const float* x, const float* factor, size_t features, LaneMask lanes, float* y);

/// y[f][row] = fma(y[f][row], factor[f], bias[f]) for the rows in `lanes`; bias may be null: then a plain product.
using ScaleBiasFn = void (*)(const float* factor, const float* bias, size_t features, LaneMask lanes, float* y);

/// y[f][row] = a[f][row] + b[f][row], all rows. y may be a or b.
using AddFn = void (*)(const float* a, const float* b, size_t features, float* y);

/// y[f][row] = a[f][row] * factor, all rows. y may be a.
using ScaleFn = void (*)(const float* a, float factor, size_t features, float* y);

/// y[f][row] = x[f][row] for the rows in `lanes`.
using BlendFn = void (*)(const float* x, size_t features, LaneMask lanes, float* y);

/// y[f][row] = value[f] for the rows in `lanes` (a task's bias before a chain starts).
using BroadcastFn = void (*)(const float* value, size_t features, LaneMask lanes, float* y);

}  // namespace pets::kernels
