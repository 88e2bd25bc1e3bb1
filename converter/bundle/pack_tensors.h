// Adds weights to a segment in the layouts that the kernels read.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "converter/bundle/precision.h"
#include "converter/bundle/segment_builder.h"
#include "converter/model/base_model.h"
#include "converter/model/operators.h"
#include "pets/status.h"

namespace pets::converter {

using TensorHandle = SegmentBuilder::Handle;

/// A linear's tensors.
struct LinearHandles {
  TensorHandle weight, bias;
  std::optional<TensorHandle> scale = {};  ///< int8 only
};

TensorHandle add_vector(SegmentBuilder& builder, const std::vector<float>& values);
/// [rows, columns], row-major: embedding tables.
TensorHandle add_table(SegmentBuilder& builder, const Matrix& matrix);
/// The same in a precision that a GPU computes with (not int8): tables and weights of a base for it. Refuses values that the precision
/// cannot hold; `name` serves for the message.
Result<TensorHandle> add_row_major(SegmentBuilder& builder, const Matrix& matrix, Precision precision, const std::string& name);
/// A weight as int8, [out, in] row-major, and its scales.
Result<TensorHandle> add_row_major_int8(SegmentBuilder& builder, const Matrix& matrix, const std::string& name, std::vector<float>& scale);
/// [out, in] in panels of 16 outputs.
TensorHandle add_panels(SegmentBuilder& builder, const Matrix& matrix);
/// Weight (in the panels of `precision`) and scale of a linear of the base. Refuses values that the precision cannot hold; `name` serves
/// for the message.
Status add_base_weight(SegmentBuilder& builder, const Matrix& matrix, Precision precision, const std::string& name, LinearHandles* handles);
TensorHandle add_u32(SegmentBuilder& builder, const std::vector<uint32_t>& values);

}  // namespace pets::converter
