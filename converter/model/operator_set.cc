#include "converter/model/operator_set.h"

namespace pets::converter {

std::vector<Operator> OperatorSet::release() {
  std::vector<Operator> list;
  for (auto& [key, operators] : sites_) {
    const Site site{key.second, key.first};
    const auto add = [&](auto& entry) {
      if (entry) list.push_back({site, std::move(*entry)});
    };
    add(operators.bias);
    add(operators.norm);
    add(operators.low_rank);
    add(operators.sparse);
    add(operators.rows);
    add(operators.mask);
    add(operators.scale);
  }
  sites_.clear();
  return list;
}

void merge_into(const SiteOperators& operators, LinearWeights& linear) {
  const uint64_t in = linear.weight.columns;
  std::vector<double> row(in);
  size_t next_sparse = 0;
  for (uint64_t out = 0; out < linear.weight.rows; ++out) {
    float* weights = linear.weight.values.data() + out * in;
    for (uint64_t i = 0; i < in; ++i) {
      bool keep = true;
      if (operators.mask) keep = ((operators.mask->bits[out * ((in + 7) / 8) + i / 8] >> (i % 8)) & 1U) != 0;
      row[i] = keep ? static_cast<double>(weights[i]) : 0.0;
    }
    if (operators.sparse) {
      const SparseOperator& sparse = *operators.sparse;
      for (; next_sparse < sparse.out.size() && sparse.out[next_sparse] == out; ++next_sparse) {
        row[sparse.in[next_sparse]] += static_cast<double>(sparse.values[next_sparse]);
      }
    }
    if (operators.low_rank) {
      const LowRankOperator& low_rank = *operators.low_rank;
      for (uint64_t r = 0; r < low_rank.a.rows; ++r) {
        const double factor = low_rank.scale * static_cast<double>(low_rank.b.values[out * low_rank.b.columns + r]);
        const float* a = low_rank.a.values.data() + r * in;
        for (uint64_t i = 0; i < in; ++i) row[i] += factor * static_cast<double>(a[i]);
      }
    }
    const bool scale_in = operators.scale && !operators.scale->input.empty();
    const double scale_out = operators.scale && !operators.scale->output.empty() ? static_cast<double>(operators.scale->output[out]) : 1.0;
    for (uint64_t i = 0; i < in; ++i) {
      const double input = scale_in ? static_cast<double>(operators.scale->input[i]) : 1.0;
      weights[i] = static_cast<float>(scale_out * row[i] * input);
    }
  }
  if (operators.bias) linear.bias = operators.bias->value;
}

}  // namespace pets::converter
