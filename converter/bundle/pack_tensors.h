// Adds weights to a segment in the layouts that the kernels read.
#pragma once

#include <string>
#include <vector>

#include "converter/bundle/segment_builder.h"
#include "converter/model/base_model.h"
#include "converter/model/operators.h"

namespace pets::converter {

using TensorHandle = SegmentBuilder::Handle;

/// A linear's two tensors.
struct LinearHandles {
  TensorHandle weight, bias;
};

TensorHandle add_vector(SegmentBuilder& builder, const std::vector<float>& values);
/// [rows, columns], row-major: embedding tables.
TensorHandle add_table(SegmentBuilder& builder, const Matrix& matrix);
/// [out, in] in panels of 16 outputs.
TensorHandle add_panels(SegmentBuilder& builder, const Matrix& matrix);
/// The same in half precision; refuses values that would become infinite. `name` serves for the message.
Result<TensorHandle> add_half_panels(SegmentBuilder& builder, const Matrix& matrix, const std::string& name);
TensorHandle add_u32(SegmentBuilder& builder, const std::vector<uint32_t>& values);

}  // namespace pets::converter
