// The floating-point types of safetensors files, in software: exact widening, and rounding to nearest even as PyTorch does.
#pragma once

#include <cstdint>

namespace pets::converter {

float half_to_float(uint16_t bits);
float bfloat16_to_float(uint16_t bits);
uint16_t float_to_half(float value);
uint16_t float_to_bfloat16(float value);

}  // namespace pets::converter
