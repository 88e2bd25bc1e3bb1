// `format: none`: the base as it is, with a head that the request describes (an embedding) or that the base's own directory holds.
#include "converter/huggingface/bert_config.h"
#include "converter/huggingface/hf_head.h"
#include "converter/huggingface/tensor_store.h"
#include "converter/readers.h"
#include "runtime/platform/check.h"

namespace pets::converter {
namespace {

/// The classifier of a base directory that holds a task model.
Result<HfHead> read_own_head(const BaseModel& base, const std::string& directory) {
  HfHead head;
  PETS_ASSIGN_OR_RETURN(const BertConfig config, read_bert_config(directory));
  PETS_ASSIGN_OR_RETURN(const TensorStore store, TensorStore::open(directory));
  PETS_ASSIGN_OR_RETURN(const auto tensors, store.by_normalised_name());
  PETS_ASSIGN_OR_RETURN(head.output, read_output_layer(tensors, base.hidden));
  head.output_is_qa = tensors.contains("qa_outputs.weight");
  // A class that cannot be told (an empty one too) leaves the question to the tensors and the request.
  head.task = task_of_architecture(config.architecture).value_or(HfTask::kUnknown);
  if (!head.output) head.task = HfTask::kEncoder;
  head.labels = config.id2label;
  head.problem_type = config.problem_type;
  return head;
}

}  // namespace

Result<PetTask> read_none(const BaseModel& base, const PetSource& source) {
  PetTask task;
  task.source = "none";
  HfHead head;
  head.task = HfTask::kEncoder;
  if (source.head.type != HeadType::kEmbedding && !source.path.empty()) {
    PETS_ASSIGN_OR_RETURN(head, read_own_head(base, source.path));
  }
  PETS_ASSIGN_OR_RETURN(task.head, make_hf_head(base, head, source.head, source.path.empty() ? "format: none" : source.path));
  return task;
}

}  // namespace pets::converter
