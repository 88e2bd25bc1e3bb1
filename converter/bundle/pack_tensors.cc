#include "converter/bundle/pack_tensors.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "kernels/gemm/panel_layout.h"
#include "runtime/platform/check.h"

namespace pets::converter {

using schema::DataType;
using schema::Layout;

namespace {

/// The value as the precision stores it; what it cannot hold is infinite or not a number.
float stored_value(float value, Precision precision) {
  if (precision == Precision::kFloat16) return kernels::float_from_half(kernels::half_from_float(value));
  return precision == Precision::kBFloat16 ? kernels::float_from_bfloat(kernels::bfloat_from_float(value)) : value;
}

Status check_range(const Matrix& matrix, Precision precision, const std::string& name) {
  for (size_t i = 0; i < matrix.values.size(); ++i) {
    if (std::isfinite(stored_value(matrix.values[i], precision))) continue;
    return Status::error(ErrorCode::kInvalidArgument, "%s: weight [%zu, %zu] = %g is beyond what %s can hold: pack with fp32", name.c_str(),
                         static_cast<size_t>(i / matrix.columns), static_cast<size_t>(i % matrix.columns),
                         static_cast<double>(matrix.values[i]), std::string(precision_name(precision)).c_str());
  }
  return {};
}

}  // namespace

TensorHandle add_vector(SegmentBuilder& builder, const std::vector<float>& values) {
  return builder.add(std::span<const float>(values), DataType::kFloat32, {values.size()});
}

TensorHandle add_table(SegmentBuilder& builder, const Matrix& matrix) {
  return builder.add(std::span<const float>(matrix.values), DataType::kFloat32, {matrix.rows, matrix.columns});
}

Result<TensorHandle> add_row_major(SegmentBuilder& builder, const Matrix& matrix, Precision precision, const std::string& name) {
  if (precision == Precision::kFloat32) return add_table(builder, matrix);
  PETS_RETURN_IF_ERROR(check_range(matrix, precision, name));
  std::vector<uint16_t> values(matrix.values.size());
  std::transform(matrix.values.begin(), matrix.values.end(), values.begin(),
                 precision == Precision::kFloat16 ? kernels::half_from_float : kernels::bfloat_from_float);
  return builder.add(std::span<const uint16_t>(values), data_type_of(precision), {matrix.rows, matrix.columns});
}

Result<TensorHandle> add_row_major_int8(SegmentBuilder& builder, const Matrix& matrix, const std::string& name, std::vector<float>& scale) {
  PETS_RETURN_IF_ERROR(check_range(matrix, Precision::kInt8, name));
  std::vector<int8_t> rows(matrix.values.size());
  scale.resize(matrix.rows);
  kernels::pack_rows_int8(matrix.values.data(), matrix.rows, matrix.columns, rows.data(), scale.data());
  return builder.add(std::span<const int8_t>(rows), DataType::kInt8, {matrix.rows, matrix.columns});
}

TensorHandle add_panels(SegmentBuilder& builder, const Matrix& matrix) {
  std::vector<float> panels(matrix.values.size());
  kernels::pack_panels16(matrix.values.data(), matrix.rows, matrix.columns, panels.data());
  return builder.add(std::span<const float>(panels), DataType::kFloat32, {matrix.rows, matrix.columns}, Layout::kPanels16);
}

Status add_base_weight(SegmentBuilder& builder, const Matrix& matrix, Precision precision, const std::string& name,
                       LinearHandles* handles) {
  if (precision == Precision::kFloat32) {
    handles->weight = add_panels(builder, matrix);
    return {};
  }
  PETS_RETURN_IF_ERROR(check_range(matrix, precision, name));
  const float* values = matrix.values.data();
  const uint64_t out = matrix.rows, in = matrix.columns;
  if (precision == Precision::kInt8) {
    std::vector<int8_t> panels(out * kernels::padded_inputs(kernels::WeightType::kInt8, in));
    std::vector<float> scale(out);
    kernels::pack_panels16_int8(values, out, in, panels.data(), scale.data());
    handles->weight = builder.add(std::span<const int8_t>(panels), DataType::kInt8, {out, in}, Layout::kPanels16By4Bounded);
    handles->scale = add_vector(builder, scale);
  } else if (precision == Precision::kBFloat16) {
    std::vector<uint16_t> panels(out * kernels::padded_inputs(kernels::WeightType::kBFloat16, in));
    kernels::pack_panels16_bfloat(values, out, in, panels.data());
    handles->weight = builder.add(std::span<const uint16_t>(panels), DataType::kBFloat16, {out, in}, Layout::kPanels16By2);
  } else {
    std::vector<uint16_t> panels(matrix.values.size());
    kernels::pack_panels16_half(values, out, in, panels.data());
    handles->weight = builder.add(std::span<const uint16_t>(panels), DataType::kFloat16, {out, in}, Layout::kPanels16);
  }
  return {};
}

TensorHandle add_u32(SegmentBuilder& builder, const std::vector<uint32_t>& values) {
  return builder.add(std::span<const uint32_t>(values), DataType::kUInt32, {values.size()});
}

}  // namespace pets::converter
