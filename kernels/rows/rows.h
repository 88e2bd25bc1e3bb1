// Moving rows between lanes: a task's rows, which may begin anywhere in a strip, laid into strips of its own and back.
#pragma once

#include "kernels/strip.h"

namespace pets::kernels {

/// For the rows in `lanes`, lane i of y becomes lane `from` + i of a and b laid side by side: a's where from + i < 16, else lane
/// from + i - 16 of b. Other rows of y keep their bits. 0 <= from <= 16. a or b may be null where no lane comes from it. a, b, y:
/// [features][16] values of 32 bits of any kind, 64-byte aligned; y is neither a nor b.
using ShiftRowsFn = void (*)(const float* a, const float* b, uint32_t from, size_t features, LaneMask lanes, float* y);

}  // namespace pets::kernels
