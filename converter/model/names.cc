#include "converter/model/names.h"

namespace pets::converter {
namespace {

template <typename Value>
struct Name {
  std::string_view name;
  Value value;
};

constexpr Name<HeadType> kHeadTypes[] = {
    {"sequence-classification", HeadType::kSequenceClassification},
    {"multi-label-classification", HeadType::kMultiLabelClassification},
    {"regression", HeadType::kRegression},
    {"token-classification", HeadType::kTokenClassification},
    {"question-answering", HeadType::kQuestionAnswering},
    {"embedding", HeadType::kEmbedding},
};

constexpr Name<Pooling> kPoolings[] = {
    {"cls", Pooling::kCls},
    {"pooler", Pooling::kPooler},
    {"mean", Pooling::kMean},
    {"tokens", Pooling::kTokens},
};

template <typename Value, size_t kSize>
Value parse(const Name<Value> (&names)[kSize], std::string_view text) {
  for (const Name<Value>& entry : names) {
    if (entry.name == text) return entry.value;
  }
  return Value::kUnknown;
}

template <typename Value, size_t kSize>
std::string_view name_of(const Name<Value> (&names)[kSize], Value value) {
  for (const Name<Value>& entry : names) {
    if (entry.value == value) return entry.name;
  }
  return "unknown";
}

}  // namespace

HeadType parse_head_type(std::string_view name) { return parse(kHeadTypes, name); }
std::string_view head_type_name(HeadType type) { return name_of(kHeadTypes, type); }
Pooling parse_pooling(std::string_view name) { return parse(kPoolings, name); }
std::string_view pooling_name(Pooling pooling) { return name_of(kPoolings, pooling); }

}  // namespace pets::converter
