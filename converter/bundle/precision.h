// How the base's linear weights are stored (PETs stay as trained) and for whom, and the names and data types of that.
#pragma once

#include <string_view>

#include "schema/bundle_generated.h"

namespace pets::converter {

enum class Precision { kFloat32, kFloat16, kBFloat16, kInt8 };

/// "fp32", "fp16", "bf16", "int8": as manifests and --precision write them.
std::string_view precision_name(Precision precision);
/// False for any other name.
bool parse_precision(std::string_view name, Precision* precision);
inline constexpr std::string_view kPrecisionList = "fp32, fp16, bf16 or int8";

/// Whose kernels read the base's layout in place; the other backend makes a copy of its own when it loads.
enum class Target {
  kCpu,  ///< weights in panels, tables in float32
  kCuda  ///< weights row-major, query, key and value as one matrix, tables in the precision, of int8 in fp16
};
/// "cpu", "cuda".
std::string_view target_name(Target target);

/// The data type of the weights, and back; any other type counts as float32.
schema::DataType data_type_of(Precision precision);
Precision precision_of(schema::DataType type);

}  // namespace pets::converter
