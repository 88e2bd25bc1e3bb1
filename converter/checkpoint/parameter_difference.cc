#include "converter/checkpoint/parameter_difference.h"

#include <algorithm>
#include <cmath>

#include "converter/checkpoint/low_rank_fit.h"
#include "converter/files/float_types.h"
#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"

namespace pets::converter {
namespace {

using ull = unsigned long long;

struct Difference {
  const std::vector<float>& base;
  const std::vector<float>& own;
  std::vector<uint64_t> changed;  // indices, ascending
  uint64_t zeroed = 0;            // of them, those that became exactly 0
};

Difference find_difference(const std::vector<float>& base, const std::vector<float>& own) {
  Difference difference{base, own, {}, 0};
  for (uint64_t i = 0; i < base.size(); ++i) {
    if (own[i] == base[i]) continue;
    difference.changed.push_back(i);
    if (own[i] == 0) ++difference.zeroed;
  }
  return difference;
}

Status refuse_dense(const StoredTensor& stored, uint64_t changed, uint64_t total, const char* unit, uint64_t bytes, const char* advice) {
  return Status::error(
      ErrorCode::kUnsupported,
      "%s: tensor `%s`: a dense difference from the base, %llu of %llu %s (%.1f %%, %llu bytes), a PET changes at most %.0f %%: %s",
      stored.file->path().c_str(), utf8::printable(stored.tensor->name).c_str(), static_cast<ull>(changed), static_cast<ull>(total), unit,
      100.0 * static_cast<double>(changed) / static_cast<double>(total), static_cast<ull>(bytes), 100 * kMaxChangedShare, advice);
}

ReplacedRowsOperator replaced_rows(const Difference& difference, uint64_t columns) {
  ReplacedRowsOperator result;
  for (const uint64_t index : difference.changed) {
    const auto row = static_cast<uint32_t>(index / columns);
    if (!result.rows.empty() && result.rows.back() == row) continue;
    result.rows.push_back(row);
    const auto begin = difference.own.begin() + static_cast<std::ptrdiff_t>(row * columns);
    result.values.values.insert(result.values.values.end(), begin, begin + static_cast<std::ptrdiff_t>(columns));
  }
  result.values.rows = result.rows.size();
  result.values.columns = columns;
  return result;
}

/// The changes as additions; with `beside_mask` without those that the mask makes 0.
SparseOperator sparse_difference(const Difference& difference, uint64_t in, bool beside_mask) {
  SparseOperator sparse;
  for (const uint64_t index : difference.changed) {
    if (beside_mask && difference.own[index] == 0) continue;
    sparse.out.push_back(static_cast<uint32_t>(index / in));
    sparse.in.push_back(static_cast<uint32_t>(index % in));
    sparse.values.push_back(static_cast<float>(static_cast<double>(difference.own[index]) - static_cast<double>(difference.base[index])));
  }
  return sparse;
}

MaskOperator mask_of(const Difference& difference, uint64_t out, uint64_t in) {
  const uint64_t row_bytes = (in + 7) / 8;
  MaskOperator mask{out, in, std::vector<uint8_t>(out * row_bytes, 0)};
  for (uint64_t o = 0; o < out; ++o) {
    for (uint64_t i = 0; i < in; ++i)
      mask.bits[o * row_bytes + i / 8] = static_cast<uint8_t>(mask.bits[o * row_bytes + i / 8] | (1U << (i % 8)));
  }
  for (const uint64_t index : difference.changed) {
    if (difference.own[index] != 0) continue;
    uint8_t& byte = mask.bits[index / in * row_bytes + index % in / 8];
    byte = static_cast<uint8_t>(byte & ~(1U << (index % in % 8)));
  }
  return mask;
}

LowRankOperator approximate(const Difference& difference, Place place, uint64_t out, uint64_t in, uint32_t rank, DifferenceReport& report) {
  std::vector<double> dense(out * in);
  for (uint64_t i = 0; i < dense.size(); ++i) dense[i] = static_cast<double>(difference.own[i]) - static_cast<double>(difference.base[i]);
  LowRankFit fit = fit_low_rank(dense, out, in, rank);
  report.difference_squares += fit.total_squares;
  report.remaining_squares += fit.remaining_squares;
  ++report.approximated;
  const double relative = std::sqrt(fit.remaining_squares / fit.total_squares);
  if (relative > report.worst || report.worst_name.empty()) {
    report.worst = relative;
    report.worst_name = schema::site_name(place.site);
  }
  return std::move(fit.low_rank);
}

Status add_weight(const StoredTensor& stored, Place place, const Difference& difference, const std::vector<uint64_t>& shape,
                  const DifferenceOptions& options, OperatorSet& operators, DifferenceReport& report) {
  const uint64_t out = shape[0], in = shape[1], changed = difference.changed.size();
  SiteOperators& site = operators.at(place.site);
  const auto few = [&](uint64_t count) { return static_cast<double>(count) <= kMaxChangedShare * static_cast<double>(out * in); };
  if (difference.zeroed == changed) {
    site.mask = mask_of(difference, out, in);
  } else if (few(changed)) {
    site.sparse = sparse_difference(difference, in, false);
  } else if (few(changed - difference.zeroed)) {
    site.mask = mask_of(difference, out, in);
    site.sparse = sparse_difference(difference, in, true);
  } else if (options.as_low_rank) {
    site.low_rank = approximate(difference, place, out, in, options.rank, report);
  } else {
    return refuse_dense(stored, changed, out * in, "weights", out * in * sizeof(float), options.advice);
  }
  return Status::ok();
}

float round_to_dtype(float value, SafeDtype dtype) {
  if (dtype == SafeDtype::kF16) return half_to_float(float_to_half(value));
  if (dtype == SafeDtype::kBF16) return bfloat16_to_float(float_to_bfloat16(value));
  return value;
}

}  // namespace

Result<std::vector<float>> floats_restored_from(const std::vector<float>& base, const StoredTensor& stored,
                                                const std::vector<uint64_t>& shape) {
  PETS_ASSIGN_OR_RETURN(std::vector<float> own, floats_of_shape(stored, shape));
  for (size_t i = 0; i < own.size(); ++i) {
    if (own[i] == round_to_dtype(base[i], stored.tensor->dtype)) own[i] = base[i];
  }
  return own;
}

Status add_difference(const BaseModel& base, Place place, const StoredTensor& stored, const DifferenceOptions& options,
                      OperatorSet& operators, DifferenceReport& report) {
  const std::vector<uint64_t> shape = shape_of_place(base, place);
  const std::vector<float>& before = *values_of_place(base, place);
  PETS_ASSIGN_OR_RETURN(std::vector<float> own,
                        options.restore_rounded ? floats_restored_from(before, stored, shape) : floats_of_shape(stored, shape));
  const Difference difference = find_difference(before, own);
  if (difference.changed.empty()) return Status::ok();

  if (schema::is_embedding_site(place.site.kind)) {
    ReplacedRowsOperator rows = replaced_rows(difference, shape[1]);
    const bool many = static_cast<double>(rows.rows.size()) > kMaxChangedShare * static_cast<double>(shape[0]);
    // Positions and token types are small tables that even a small PET may change throughout.
    if (many && place.site.kind == SiteKind::kEmbeddingsWord && !options.as_low_rank) {
      return refuse_dense(stored, rows.rows.size(), shape[0], "rows", rows.values.values.size() * sizeof(float), options.advice);
    }
    operators.at(place.site).rows = std::move(rows);
  } else if (schema::is_norm_site(place.site.kind)) {
    std::optional<NormOperator>& norm = operators.at(place.site).norm;
    if (!norm) norm.emplace();
    (place.is_bias ? norm->beta : norm->gamma) = std::move(own);
  } else if (place.is_bias) {
    operators.at(place.site).bias = BiasOperator{std::move(own)};
  } else {
    return add_weight(stored, place, difference, shape, options, operators, report);
  }
  return Status::ok();
}

}  // namespace pets::converter
