// A dot-product linear with random operands, for the tests of gemm/dot.h.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tests/kernels/kernel_test.h"

#include "kernels/gemm/dot.h"
#include "kernels/gemm/panel_layout.h"
#include "kernels/mask/mask.h"

namespace pets::kernels {

// A panel's tail must be readable for 64 bytes (the bundle guarantees it); the panels here are followed by exactly that.
inline constexpr size_t kPanelSlack = 64;

struct DotCase {
  WeightType type;
  size_t k;
  uint32_t width, strips;
  uint32_t rows = kStripRows;  // of one strip, that are wanted
  size_t x_stride, y_stride;   // floats
  Floats x, y, bias, w_scale;
  Buffer<uint8_t> panel;
  Buffer<uint32_t> planes;
  std::vector<const float*> biases;

  DotCase(Random& random, WeightType type_, size_t k_, uint32_t width_, uint32_t strips_)
      : type(type_),
        k(k_),
        width(width_),
        strips(strips_),
        x_stride((k + 1) * kStripRows),
        y_stride((width + 1) * kStripRows),
        x(random.floats(strips * x_stride)),
        y(random.floats(strips * y_stride)),
        bias(random.floats(strips * width)),
        w_scale(width),
        panel(width * padded_inputs(type, k) * weight_bytes(type) + kPanelSlack, uint8_t{0x7F}),
        planes(panel_count(width) * bit_plane_words(k)) {
    const Floats weight = random.floats(width * k);
    if (type == WeightType::kInt8) {
      pack_panels16_int8(weight.data(), width, k, reinterpret_cast<int8_t*>(panel.data()), w_scale.data());
    } else {
      pack_panels16_bfloat(weight.data(), width, k, reinterpret_cast<uint16_t*>(panel.data()));
    }
    for (uint32_t& word : planes) word = random.below(0xFFFFFFFF) | random.below(0xFFFFFFFF);
    // Every third strip continues what y holds.
    for (uint32_t s = 0; s < strips; ++s) biases.push_back(s % 3 == 2 ? nullptr : bias.data() + s * width);
  }

  /// What `kernels` make of this case: y.
  Floats run(const KernelTable& kernels, bool masked = false) const {
    const size_t stride = converted_strip_bytes(type, k) + 64;
    Buffer<uint8_t> converted(strips * stride, uint8_t{0xA5});
    Floats scale(strips * kStripRows, kNan), result = y;
    for (uint32_t s = 0; s < strips; ++s) {
      kernels.dots.convert_strip(type, x.data() + s * x_stride, k, converted.data() + s * stride, scale.data() + s * kStripRows);
    }
    DotPanel a;
    a.type = type;
    a.x = converted.data();
    a.x_stride = stride;
    a.x_scale = type == WeightType::kInt8 ? scale.data() : nullptr;
    a.y = result.data();
    a.y_stride = y_stride;
    a.panel = panel.data();
    a.w_scale = type == WeightType::kInt8 ? w_scale.data() : nullptr;
    a.width = width;
    a.k = k;
    a.bias = biases.data();
    a.strips = strips;
    a.rows = rows;
    a.planes = masked ? planes.data() : nullptr;
    const DotCalls calls(kernels.dots, true);
    kernels.dots.dot_panel(a);
    return result;
  }

  /// bfloat16: a sum of k exact products of values up to 1 rounds at most k + 1 times, at partial sums of at most k + 2, to nearest or to
  /// odd (one unit in the last place), in either order; the reference's own sum does so too.
  double bfloat16_tolerance() const { return 2 * 1.2e-7 * static_cast<double>((k + 1) * (k + 2)); }
  /// int8: sums are exact; without fused multiply-adds the last step rounds twice. One more or less in a sum would show: it is a step of
  /// the inputs times one of the weights, 6e-5.
  static double unfused_tolerance(float expected) { return 1.2e-7 * (std::fabs(static_cast<double>(expected)) + 1); }
};

inline constexpr size_t kDotInputs[] = {0, 1, 3, 4, 7, 19, 33, 111, 384, 600, 1536};

}  // namespace pets::kernels
