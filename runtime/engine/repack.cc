#include "runtime/engine/repack.h"

namespace pets::engine {
namespace {

using kernels::WeightType;

/// The linear with its weight in panels.
LinearWeights in_panels(const LinearWeights& from, void* panels) {
  if (from.type == WeightType::kFloat32) {
    kernels::pack_panels16(static_cast<const float*>(from.panels), from.out, from.in, static_cast<float*>(panels));
  } else {
    kernels::pack_panels16_bits(from.type, static_cast<const uint16_t*>(from.panels), from.out, from.in, static_cast<uint16_t*>(panels));
  }
  LinearWeights to = from;
  to.panels = panels;
  to.row_major = false;
  return to;
}

const void* float_table(const void* table, WeightType type, size_t count, memory::Arena& arena) {
  if (type == WeightType::kFloat32) return table;
  auto* const values = arena.array<float>(count);
  const auto* const from = static_cast<const uint16_t*>(table);
  for (size_t i = 0; values != nullptr && i < count; ++i) {
    values[i] = type == WeightType::kFloat16 ? kernels::float_from_half(from[i]) : kernels::float_from_bfloat(from[i]);
  }
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
  base.row_major = false;
}

}  // namespace pets::engine
