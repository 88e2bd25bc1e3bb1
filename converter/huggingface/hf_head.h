// Heads as transformers' BertFor... classes have them: an optional pooler of the task's own, then one dense layer.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "converter/huggingface/tensor_store.h"
#include "converter/model/base_model.h"
#include "converter/model/operators.h"
#include "pets/status.h"

namespace pets::converter {

/// What kind of task model a source says it is.
enum class HfTask : uint8_t { kUnknown, kSequence, kTokens, kQuestionAnswering, kEncoder };

/// "BertForSequenceClassification" -> kSequence, ... ; nothing for classes whose head is not supported.
std::optional<HfTask> task_of_architecture(std::string_view architecture);

/// A task head as found in files.
struct HfHead {
  HfTask task = HfTask::kUnknown;
  std::optional<LinearWeights> output;  // classifier or qa_outputs
  bool output_is_qa = false;            // the layer's name was qa_outputs
  std::optional<LinearWeights> pooler;  // the task's own, where it differs from the base's
  std::vector<std::string> labels;      // used where their number is the head's
  std::string problem_type;
};

/// Head of a PetTask: what the request asks for, filled in from the source; refused where the two do not fit. `where` names the source.
Result<HeadSpec> make_hf_head(const BaseModel& base, const HfHead& head, const HeadRequest& request, const std::string& where);

/// The `classifier` or `qa_outputs` among tensors by normalised name; nothing where there is none.
Result<std::optional<LinearWeights>> read_output_layer(const std::map<std::string, StoredTensor>& tensors, uint32_t hidden);

}  // namespace pets::converter
