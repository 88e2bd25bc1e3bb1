// The names that manifests and the operators format give to head types, poolings and activations.
#pragma once

#include <string_view>

#include "converter/model/operators.h"

namespace pets::converter {

inline constexpr std::string_view kHeadTypeList =
    "sequence-classification, multi-label-classification, regression, token-classification, question-answering or embedding";

/// kUnknown for any other name ("auto" too).
HeadType parse_head_type(std::string_view name);
std::string_view head_type_name(HeadType type);

/// "cls", "pooler", "mean", "tokens"; kUnknown for any other name.
Pooling parse_pooling(std::string_view name);
std::string_view pooling_name(Pooling pooling);

}  // namespace pets::converter
