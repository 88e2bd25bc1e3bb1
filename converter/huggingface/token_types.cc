#include "converter/huggingface/token_types.h"

namespace pets::converter {

void drop_token_types(const BaseModel& base, OperatorSet& operators) {
  if (base.token_types < 2) return;
  std::optional<ReplacedRowsOperator>& rows = operators.at({SiteKind::kEmbeddingsTokenType, 0}).rows;
  const bool first_replaced = rows && !rows->rows.empty() && rows->rows[0] == 0;
  const std::vector<float>& source = first_replaced ? rows->values.values : base.token_type_embeddings.values;
  const std::vector<float> first(source.begin(), source.begin() + static_cast<std::ptrdiff_t>(base.hidden));
  ReplacedRowsOperator result;
  for (uint32_t type = first_replaced ? 0 : 1; type < base.token_types; ++type) {
    result.rows.push_back(type);
    result.values.values.insert(result.values.values.end(), first.begin(), first.end());
  }
  result.values.rows = result.rows.size();
  result.values.columns = base.hidden;
  rows = std::move(result);
}

}  // namespace pets::converter
