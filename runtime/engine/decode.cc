#include "runtime/engine/decode.h"

#include <algorithm>
#include <cmath>

namespace pets::engine {
namespace {

constexpr size_t kMaxAnswerTokens = 30;

void softmax(std::span<const float> logits, float* scores) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - static_cast<double>(largest));
  for (size_t i = 0; i < logits.size(); ++i) {
    scores[i] = static_cast<float>(std::exp(static_cast<double>(logits[i]) - static_cast<double>(largest)) / sum);
  }
}

}  // namespace

size_t probabilities(HeadType head, uint32_t outputs, std::span<const float> logits, float* scores) {
  switch (head) {
    case HeadType::kSequenceClassification:
    case HeadType::kTokenClassification:
      for (size_t i = 0; i + outputs <= logits.size(); i += outputs) softmax(logits.subspan(i, outputs), scores + i);
      return logits.size();
    case HeadType::kMultiLabelClassification:
      for (size_t i = 0; i < logits.size(); ++i) scores[i] = static_cast<float>(1 / (1 + std::exp(-static_cast<double>(logits[i]))));
      return logits.size();
    default:
      return 0;
  }
}

AnswerSpan best_span(std::span<const float> logits, std::span<const tokenizer::Token> tokens) {
  AnswerSpan best;
  const std::span<const float> start = logits.subspan(0, tokens.size()), end = logits.subspan(tokens.size());
  const auto in_context = [&](size_t i) { return tokens[i].segment == 1 && !tokens[i].special; };
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (!in_context(i)) continue;
    for (size_t j = i; j < tokens.size() && j < i + kMaxAnswerTokens && in_context(j); ++j) {
      const float score = start[i] + end[j];
      if (!best.found || score > best.score) best = {true, tokens[i].start, tokens[j].end, score};
    }
  }
  return best;
}

}  // namespace pets::engine
