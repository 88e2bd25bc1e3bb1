#include "converter/bundle/precision.h"

#include <iterator>

namespace pets::converter {
namespace {

// Indexed by Precision.
constexpr std::string_view kPrecisionNames[] = {"fp32", "fp16", "bf16", "int8"};
constexpr schema::DataType kPrecisionTypes[] = {schema::DataType::kFloat32, schema::DataType::kFloat16, schema::DataType::kBFloat16,
                                                schema::DataType::kInt8};

}  // namespace

std::string_view precision_name(Precision precision) { return kPrecisionNames[static_cast<size_t>(precision)]; }

bool parse_precision(std::string_view name, Precision* precision) {
  for (size_t i = 0; i < std::size(kPrecisionNames); ++i) {
    if (kPrecisionNames[i] != name) continue;
    *precision = static_cast<Precision>(i);
    return true;
  }
  return false;
}

std::string_view target_name(Target target) { return target == Target::kCuda ? "cuda" : "cpu"; }

schema::DataType data_type_of(Precision precision) { return kPrecisionTypes[static_cast<size_t>(precision)]; }

Precision precision_of(schema::DataType type) {
  for (size_t i = 0; i < std::size(kPrecisionTypes); ++i) {
    if (kPrecisionTypes[i] == type) return static_cast<Precision>(i);
  }
  return Precision::kFloat32;
}

}  // namespace pets::converter
