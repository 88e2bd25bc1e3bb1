// From logits to answers: probabilities and spans.
#pragma once

#include <cstdint>
#include <span>

#include "pets/types.h"
#include "runtime/tokenizer/tokenizer.h"

namespace pets::engine {

/// Probabilities of one query's logits: softmax over each group of `outputs`, or sigmoids; nothing for heads that have none.
/// scores: as many as logits. Returns how many were written.
size_t probabilities(HeadType head, uint32_t outputs, std::span<const float> logits, float* scores);

/// The best span by start + end logit with start <= end, at most 30 tokens, whose ends are tokens of the context (segment 1, not special);
/// the first of equals. logits: [2][tokens].
AnswerSpan best_span(std::span<const float> logits, std::span<const tokenizer::Token> tokens);

}  // namespace pets::engine
