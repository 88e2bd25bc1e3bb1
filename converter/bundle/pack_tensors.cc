#include "converter/bundle/pack_tensors.h"

#include "kernels/gemm/panel_layout.h"

namespace pets::converter {

using schema::DataType;
using schema::Layout;

TensorHandle add_vector(SegmentBuilder& builder, const std::vector<float>& values) {
  return builder.add(std::span<const float>(values), DataType::kFloat32, {values.size()});
}

TensorHandle add_table(SegmentBuilder& builder, const Matrix& matrix) {
  return builder.add(std::span<const float>(matrix.values), DataType::kFloat32, {matrix.rows, matrix.columns});
}

TensorHandle add_panels(SegmentBuilder& builder, const Matrix& matrix) {
  std::vector<float> panels(matrix.values.size());
  kernels::pack_panels16(matrix.values.data(), matrix.rows, matrix.columns, panels.data());
  return builder.add(std::span<const float>(panels), DataType::kFloat32, {matrix.rows, matrix.columns}, Layout::kPanels16);
}

Result<TensorHandle> add_half_panels(SegmentBuilder& builder, const Matrix& matrix, const std::string& name) {
  constexpr uint16_t kExponent = 0x7C00;  // all ones: infinite or not a number
  for (size_t i = 0; i < matrix.values.size(); ++i) {
    if ((kernels::half_from_float(matrix.values[i]) & kExponent) != kExponent) continue;
    return Status::error(ErrorCode::kInvalidArgument, "%s: weight [%zu, %zu] = %g is beyond half precision: pack with fp32", name.c_str(),
                         static_cast<size_t>(i / matrix.columns), static_cast<size_t>(i % matrix.columns),
                         static_cast<double>(matrix.values[i]));
  }
  std::vector<uint16_t> panels(matrix.values.size());
  kernels::pack_panels16_half(matrix.values.data(), matrix.rows, matrix.columns, panels.data());
  return builder.add(std::span<const uint16_t>(panels), DataType::kFloat16, {matrix.rows, matrix.columns}, Layout::kPanels16);
}

TensorHandle add_u32(SegmentBuilder& builder, const std::vector<uint32_t>& values) {
  return builder.add(std::span<const uint32_t>(values), DataType::kUInt32, {values.size()});
}

}  // namespace pets::converter
