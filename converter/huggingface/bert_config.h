// config.json of a Hugging Face BERT directory, every key accounted for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "converter/model/operators.h"
#include "pets/status.h"

namespace pets::converter {

struct BertConfig {
  std::string path;
  uint32_t hidden = 0, layers = 0, heads = 0, intermediate = 0, vocabulary = 0, positions = 0, token_types = 0;
  float norm_epsilon = 0;
  Activation activation = Activation::kGelu;
  uint32_t pad_id = 0;
  // What the task model's head is:
  std::string architecture;           // "BertForSequenceClassification", empty where the file does not say
  std::vector<std::string> id2label;  // empty where the file does not say
  std::string problem_type;
};

/// Reads `directory`/config.json. Only `model_type: bert` with absolute positions, as an encoder.
Result<BertConfig> read_bert_config(const std::string& directory);

}  // namespace pets::converter
