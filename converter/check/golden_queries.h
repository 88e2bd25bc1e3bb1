// The fixed queries whose answers every task carries, so that any build on any device can check itself.
#pragma once

#include <cstdint>
#include <vector>

#include "converter/bundle/bundle_writer.h"
#include "converter/model/operators.h"

namespace pets::converter {

/// Short, middling and long texts (with a pair where the head answers questions); ids where the base has no tokenizer. Without logits.
std::vector<Golden> golden_queries(HeadType head, bool has_tokenizer, uint32_t vocabulary, uint32_t max_length);

/// The question that calibration texts are the contexts of.
const char* golden_question();

}  // namespace pets::converter
