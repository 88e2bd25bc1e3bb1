// The head in a file of PET operators.
#include "converter/files/message_text.h"
#include "converter/model/activation_names.h"
#include "converter/model/names.h"
#include "converter/operators_format/operators_reader.h"
#include "runtime/platform/check.h"

namespace pets::converter {
namespace {

Status refuse(const std::string& where, const std::string& message) {
  return Status::error(ErrorCode::kInvalidArgument, "%s: %s", where.c_str(), message.c_str());
}

Status read_labels(const OrderedJson& head, const std::string& where, std::vector<std::string>* labels) {
  const auto found = head.find("labels");
  if (found == head.end() || found->is_null()) return {};
  if (!found->is_array()) return refuse(where, "labels: expected a list of texts, found " + json_text(*found));
  for (const OrderedJson& label : *found) {
    if (!label.is_string()) return refuse(where, "labels: expected a text, found " + json_text(label));
    labels->push_back(label.get<std::string>());
  }
  return {};
}

Result<std::vector<Activation>> read_activations(const OrderedJson& head, const std::string& where, size_t count) {
  std::vector<Activation> activations(count, Activation::kNone);
  const auto layers = head.find("layers");
  if (layers == head.end() || layers->is_null()) return activations;
  if (!layers->is_array() || layers->size() != count) {
    return refuse(where, "layers: expected a list of " + std::to_string(count) + " objects, one for each tensor head:<i>.weight, found " +
                             (layers->is_array() ? std::to_string(layers->size()) : json_text(*layers)));
  }
  for (size_t i = 0; i < count; ++i) {
    const std::string place = where + ": layers[" + std::to_string(i) + "]";
    const OrderedJson& layer = (*layers)[i];
    if (!layer.is_object()) return refuse(place, "expected an object, found " + json_text(layer));
    constexpr KeyRule kRules[] = {{"activation"}};
    PETS_RETURN_IF_ERROR(check_keys(layer, kRules, place));
    PETS_ASSIGN_OR_RETURN(const std::string name, get_string(layer, "activation", place, "none"));
    const std::optional<Activation> activation = operators_activation(name);
    if (!activation) return refuse(place, "the activation " + in_quotes(name) + " is not known");
    activations[i] = *activation;
  }
  return activations;
}

}  // namespace

Result<HeadSpec> read_operators_head(const BaseModel& base, const OrderedJson& config, TensorReader* tensors) {
  HeadSpec head;
  const auto found = config.find("head");
  if (found == config.end() || found->is_null()) return head;
  const std::string where = tensors->file().path() + ": config: head";
  if (!found->is_object()) return refuse(where, "expected an object, found " + json_text(*found));
  constexpr KeyRule kRules[] = {{"type"}, {"pooling"}, {"layers"}, {"labels"}, {"normalize"}};
  PETS_RETURN_IF_ERROR(check_keys(*found, kRules, where));

  PETS_ASSIGN_OR_RETURN(const std::string type, get_string(*found, "type", where, std::nullopt));
  head.type = parse_head_type(type);
  if (head.type == HeadType::kUnknown) return refuse(where, "type: expected " + std::string(kHeadTypeList) + ", found " + in_quotes(type));
  const bool tokens = head.type == HeadType::kTokenClassification || head.type == HeadType::kQuestionAnswering;
  PETS_ASSIGN_OR_RETURN(const std::string pooling,
                        get_string(*found, "pooling", where, tokens ? std::optional<std::string>("tokens") : std::nullopt));
  head.pooling = parse_pooling(pooling);
  if (head.pooling == Pooling::kUnknown || (head.pooling == Pooling::kTokens) != tokens) {
    return refuse(where, "pooling: a head of type " + type + " reads " + (tokens ? "tokens" : "cls, pooler or mean") + ", found " +
                             in_quotes(pooling));
  }
  PETS_ASSIGN_OR_RETURN(head.normalize, get_bool(*found, "normalize", where, false));
  if (head.normalize && head.type != HeadType::kEmbedding) return refuse(where, "normalize: is for embeddings only");
  PETS_RETURN_IF_ERROR(read_labels(*found, where, &head.labels));

  uint64_t width = base.hidden;
  for (size_t i = 0;; ++i) {
    const std::string prefix = "head:" + std::to_string(i) + ".";
    if (!tensors->has(prefix + "weight")) break;
    HeadLayer layer;
    PETS_ASSIGN_OR_RETURN(layer.weight, tensors->matrix(prefix + "weight", TensorReader::kAny, width));
    PETS_ASSIGN_OR_RETURN(layer.bias, tensors->vector(prefix + "bias", layer.weight.rows));
    width = layer.weight.rows;
    head.layers.push_back(std::move(layer));
  }
  PETS_ASSIGN_OR_RETURN(const std::vector<Activation> activations, read_activations(*found, where, head.layers.size()));
  for (size_t i = 0; i < activations.size(); ++i) head.layers[i].activation = activations[i];
  return head;
}

}  // namespace pets::converter
