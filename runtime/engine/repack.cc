#include "runtime/engine/repack.h"

#include <vector>

namespace pets::engine {
namespace {

using kernels::WeightType;

float value_at(const void* values, WeightType type, size_t index) {
  if (type == WeightType::kFloat32) return static_cast<const float*>(values)[index];
  const uint16_t bits = static_cast<const uint16_t*>(values)[index];
  return type == WeightType::kFloat16 ? kernels::float_from_half(bits) : kernels::float_from_bfloat(bits);
}

/// The linear with its weight in panels.
LinearWeights in_panels(const LinearWeights& from, void* panels) {
  if (from.type == WeightType::kFloat32) {
    kernels::pack_panels16(static_cast<const float*>(from.panels), from.out, from.in, static_cast<float*>(panels));
  } else if (from.type == WeightType::kInt8) {
    kernels::pack_panels16_bytes(static_cast<const int8_t*>(from.panels), from.out, from.in, static_cast<int8_t*>(panels));
  } else {
    kernels::pack_panels16_bits(from.type, static_cast<const uint16_t*>(from.panels), from.out, from.in, static_cast<uint16_t*>(panels));
  }
  LinearWeights to = from;
  to.panels = panels;
  to.row_major = false;
  return to;
}

/// The pooler, which is float32 on the CPU in every precision.
LinearWeights in_float_panels(const LinearWeights& from, float* panels) {
  std::vector<float> rows(size_t{from.out} * from.in);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = value_at(from.panels, from.type, i);
  kernels::pack_panels16(rows.data(), from.out, from.in, panels);
  LinearWeights to = from;
  to.panels = panels;
  to.type = WeightType::kFloat32;
  to.row_major = false;
  return to;
}

const void* float_table(const void* table, WeightType type, size_t count, memory::Arena& arena) {
  if (type == WeightType::kFloat32) return table;
  auto* const values = arena.array<float>(count);
  for (size_t i = 0; values != nullptr && i < count; ++i) values[i] = value_at(table, type, i);
  return values;
}

}  // namespace

void repack_for_cpu(BaseWeights& base, LayerWeights* layers, memory::Arena& arena) {
  base.word = float_table(base.word, base.table_type, size_t{base.vocabulary} * base.hidden, arena);
  base.position = float_table(base.position, base.table_type, size_t{base.positions} * base.hidden, arena);
  base.token_type = float_table(base.token_type, base.table_type, size_t{base.token_types} * base.hidden, arena);
  base.table_type = WeightType::kFloat32;
  for (uint32_t n = 0; n < base.layers; ++n) {
    for (uint32_t i = 0; i < kLinearSites; ++i) {
      const size_t out = i == kUp ? base.intermediate : base.hidden, in = i == kDown ? base.intermediate : base.hidden;
      const size_t bytes = out * kernels::padded_inputs(base.linear_type, in) * kernels::weight_bytes(base.linear_type);
      void* const panels = arena.array<std::byte>(bytes);
      if (layers != nullptr) layers[n].linear[i] = in_panels(layers[n].linear[i], panels);
    }
  }
  if (base.pooler.row_major) {
    auto* const panels = arena.array<float>(size_t{base.hidden} * base.hidden);
    if (panels != nullptr) base.pooler = in_float_panels(base.pooler, panels);
  }
  base.row_major = false;
}

}  // namespace pets::engine
