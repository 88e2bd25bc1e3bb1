// Collects what a reader finds, site by site, before it becomes a PetTask's list of operators.
#pragma once

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "converter/model/base_model.h"
#include "converter/model/operators.h"

namespace pets::converter {

/// At most one operator of a kind.
struct SiteOperators {
  std::optional<BiasOperator> bias;
  std::optional<NormOperator> norm;
  std::optional<LowRankOperator> low_rank;
  std::optional<SparseOperator> sparse;
  std::optional<ReplacedRowsOperator> rows;
  std::optional<MaskOperator> mask;
  std::optional<ScaleOperator> scale;
};

class OperatorSet {
 public:
  SiteOperators& at(Site site) { return sites_[{site.layer, site.kind}]; }
  /// As a list, by layer and site.
  std::vector<Operator> release();

 private:
  std::map<std::pair<uint32_t, SiteKind>, SiteOperators> sites_;
};

/// Computes a dense layer with its operators merged, in double: for layers that belong to the task itself (its pooler, its classifier).
void merge_into(const SiteOperators& operators, LinearWeights& linear);

}  // namespace pets::converter
