// read_base: a Hugging Face BERT directory.
#include <algorithm>
#include <filesystem>

#include "converter/files/message_text.h"
#include "converter/huggingface/bert_config.h"
#include "converter/huggingface/bert_names.h"
#include "converter/huggingface/hf_head.h"
#include "converter/huggingface/tensor_store.h"
#include "converter/model/fingerprint.h"
#include "converter/readers.h"
#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"

namespace pets::converter {
namespace {

/// "models/minilm/" -> "minilm": where a base came from, without the machine's path.
std::string last_component(const std::string& directory) {
  std::error_code error;
  std::filesystem::path path = std::filesystem::absolute(directory, error).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  return path.filename().string();
}

void take_config(const BertConfig& config, BaseModel& base) {
  base.hidden = config.hidden;
  base.layers = config.layers;
  base.heads = config.heads;
  base.intermediate = config.intermediate;
  base.vocabulary = config.vocabulary;
  base.positions = config.positions;
  base.token_types = config.token_types;
  base.norm_epsilon = config.norm_epsilon;
  base.activation = config.activation;
  base.pad_id = config.pad_id;
  base.architecture = config.architecture;
  base.id2label = config.id2label;
  base.problem_type = config.problem_type;
}

/// Every tensor is a parameter of this encoder or known to stand beside it.
Status account_for_tensors(const std::map<std::string, StoredTensor>& tensors, const BertConfig& config) {
  for (const auto& [name, stored] : tensors) {
    const auto place = place_of_tensor(name);
    if (place && place->site.layer < config.layers) continue;
    if (!place && (is_buffer_or_lm_head(name) || is_task_head(name))) continue;
    const std::string problem =
        place ? "belongs to layer " + std::to_string(place->site.layer) + ", config.json has " + std::to_string(config.layers) + " layers"
              : std::string("is no tensor of a BERT model that this reader knows");
    return Status::error(ErrorCode::kUnsupported, "%s: tensor `%s` %s", stored.file->path().c_str(),
                         utf8::printable(stored.tensor->name).c_str(), problem.c_str());
  }
  return Status::ok();
}

Status read_place(const std::map<std::string, StoredTensor>& tensors, const std::string& directory, Place place, BaseModel& base) {
  const std::string name = tensor_of_place(place);
  const auto found = tensors.find(name);
  if (found == tensors.end()) {
    return Status::error(ErrorCode::kDamaged, "%s: tensor `%s` is missing", directory.c_str(), name.c_str());
  }
  const std::vector<uint64_t> shape = shape_of_place(base, place);
  PETS_ASSIGN_OR_RETURN(*values_of_place(base, place), floats_of_shape(found->second, shape));
  Matrix* matrix = nullptr;
  if (place.site.kind == SiteKind::kEmbeddingsWord) matrix = &base.word_embeddings;
  if (place.site.kind == SiteKind::kEmbeddingsPosition) matrix = &base.position_embeddings;
  if (place.site.kind == SiteKind::kEmbeddingsTokenType) matrix = &base.token_type_embeddings;
  if (LinearWeights* linear = base.linear(place.site); linear != nullptr && !place.is_bias) matrix = &linear->weight;
  if (matrix != nullptr) {
    matrix->rows = shape[0];
    matrix->columns = shape[1];
  }
  return Status::ok();
}

Status read_tokenizer(const std::string& directory, const BertConfig& config, BaseModel& base) {
  if (!is_file(join_path(directory, "tokenizer.json")) && !is_file(join_path(directory, "vocab.txt"))) return Status::ok();
  PETS_ASSIGN_OR_RETURN(base.tokenizer, read_hf_tokenizer(directory));
  base.has_tokenizer = true;
  uint64_t ids = base.tokenizer.tables.vocabulary.size();
  for (const auto& token : base.tokenizer.tables.added_tokens) ids = std::max(ids, uint64_t{token.id} + 1);
  if (ids > config.vocabulary) {
    return Status::error(ErrorCode::kMismatch, "%s: the tokenizer has ids up to %llu, `vocab_size` in config.json is %u", directory.c_str(),
                         static_cast<unsigned long long>(ids - 1), config.vocabulary);
  }
  return Status::ok();
}

}  // namespace

Result<BaseModel> read_base(const std::string& directory) {
  PETS_ASSIGN_OR_RETURN(const BertConfig config, read_bert_config(directory));
  PETS_ASSIGN_OR_RETURN(const TensorStore store, TensorStore::open(directory));
  PETS_ASSIGN_OR_RETURN(const auto tensors, store.by_normalised_name());
  PETS_RETURN_IF_ERROR(account_for_tensors(tensors, config));

  BaseModel base;
  base.source = last_component(directory);
  take_config(config, base);
  base.encoder.resize(config.layers);
  if (tensors.contains("pooler.dense.weight") || tensors.contains("pooler.dense.bias")) base.pooler.emplace();
  for (const Place& place : encoder_places(base.layers, base.pooler.has_value())) {
    PETS_RETURN_IF_ERROR(read_place(tensors, directory, place, base));
  }
  // The base's own head is an offer to tasks that bring none; one that does not fit a BERT head is left out like `cls.*`.
  if (auto own_head = read_output_layer(tensors, base.hidden)) base.own_head = std::move(*own_head);
  PETS_RETURN_IF_ERROR(read_tokenizer(directory, config, base));
  base.fingerprint = base_fingerprint(base);
  return base;
}

}  // namespace pets::converter
