// The dot products of instruction sets that the testing machine may lack: the tile's own source with their tile shapes and input formats,
// and their few instructions written as loops.
#pragma once

#include <string>
#include <vector>

#include "kernels/gemm/dot.h"

namespace pets::kernels {

struct EmulatedDot {
  std::string name;
  DotKernels dots;
};
std::vector<EmulatedDot> emulated_dots();

}  // namespace pets::kernels
