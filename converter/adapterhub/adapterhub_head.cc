// Prediction heads of AdapterHub: adapters/heads/base.py for the flexible ones (an adapters model class), transformers' own for static
// ones (`adapters.init` on a task model).
#include <nlohmann/json.hpp>

#include "converter/adapterhub/adapterhub_methods.h"
#include "converter/files/json_reader.h"
#include "converter/files/message_text.h"
#include "converter/huggingface/hf_head.h"
#include "converter/huggingface/tensor_store.h"
#include "converter/model/activation_names.h"
#include "converter/model/head_request.h"
#include "runtime/platform/check.h"

namespace pets::converter {
namespace {

constexpr const char* kHeadConfigName = "head_config.json";
constexpr const char* kHeadWeightsName = "model_head.safetensors";
constexpr const char* kPickledName = "pytorch_model_head.bin";
constexpr uint64_t kMaxHeadLayers = 64;
constexpr uint64_t kMaxLabels = 1U << 20U;

constexpr KeyRule kHeadRules[] = {
    {"config"},
    {"name"},
    {"model_class"},
    {"model_type"},
    {"label2id"},
    {"num_labels"},
    {"hidden_size", KeyUse::kIrrelevant},
    {"model_name", KeyUse::kIrrelevant},
    {"version", KeyUse::kIrrelevant},
};

constexpr KeyRule kFlexibleRules[] = {
    {"head_type"}, {"num_labels"}, {"layers"}, {"activation_function"},
    {"label2id"},  {"use_pooler"}, {"bias"},   {"dropout_prob", KeyUse::kIrrelevant},
};

/// Label names by id; an id without a name is LABEL_i. Null where the file has no map.
Result<std::vector<std::string>> read_labels(const OrderedJson& object, const std::string& where, uint64_t count) {
  std::vector<std::string> labels;
  const auto found = object.find("label2id");
  if (found == object.end() || found->is_null()) return labels;
  if (!found->is_object()) {
    return Status::error(ErrorCode::kInvalidArgument, "%s: `label2id`: expected an object, found %s", where.c_str(),
                         json_text(*found).c_str());
  }
  for (uint64_t i = 0; i < count; ++i) labels.push_back("LABEL_" + std::to_string(i));
  std::vector<bool> named(count, false);
  for (const auto& [label, id] : found->items()) {
    const bool valid = id.is_number_unsigned() && id.get<uint64_t>() < count;
    if (!valid || named[id.get<uint64_t>()]) {
      return Status::error(ErrorCode::kInvalidArgument, "%s: `label2id`: %s: expected an id below %llu that no other label has, found %s",
                           where.c_str(), in_quotes(label).c_str(), static_cast<unsigned long long>(count), json_text(id).c_str());
    }
    named[id.get<uint64_t>()] = true;
    labels[id.get<uint64_t>()] = label;
  }
  return labels;
}

/// A head that `adapters` built: dropout, linear, activation, ..., linear.
class FlexibleHead {
 public:
  FlexibleHead(const BaseModel& base, const OrderedJson& config, std::string where, const std::string& name, TensorReader* tensors)
      : base_(base), config_(config), where_(std::move(where)), prefix_("heads." + name + "."), tensors_(tensors) {}

  Result<HeadSpec> read() {
    HeadSpec head;
    PETS_ASSIGN_OR_RETURN(const uint64_t outputs, get_unsigned(config_, "num_labels", where_, 2, kMaxLabels));
    PETS_RETURN_IF_ERROR(read_type(outputs, &head));  // first: another type's keys would only confuse
    PETS_RETURN_IF_ERROR(check_keys(config_, kFlexibleRules, where_));
    PETS_RETURN_IF_ERROR(read_layers(outputs, &head));
    const bool names = head.type != HeadType::kQuestionAnswering && head.type != HeadType::kRegression;
    if (names) {
      PETS_ASSIGN_OR_RETURN(head.labels, read_labels(config_, where_, outputs));
    }
    return head;
  }

 private:
  Status read_type(uint64_t outputs, HeadSpec* head) const {
    PETS_ASSIGN_OR_RETURN(const std::string type, get_string(config_, "head_type", where_, std::nullopt));
    PETS_ASSIGN_OR_RETURN(const bool pooler, get_bool(config_, "use_pooler", where_, false));
    head->pooling = Pooling::kTokens;
    if (type == "classification" || type == "multilabel_classification") {
      head->type = type != "classification" ? HeadType::kMultiLabelClassification
                   : outputs == 1           ? HeadType::kRegression
                                            : HeadType::kSequenceClassification;
      head->pooling = pooler ? Pooling::kPooler : Pooling::kCls;
    } else if (type == "tagging") {
      head->type = HeadType::kTokenClassification;
    } else if (type == "question_answering") {
      head->type = HeadType::kQuestionAnswering;
    } else {
      return Status::error(ErrorCode::kUnsupported,
                           "%s: `head_type`: %s is not supported; expected classification, multilabel_classification, tagging or "
                           "question_answering",
                           where_.c_str(), in_quotes(type).c_str());
    }
    if (pooler && head->pooling == Pooling::kTokens) {
      return Status::error(ErrorCode::kUnsupported, "%s: `use_pooler`: a head of type %s has no such option", where_.c_str(), type.c_str());
    }
    if (head->pooling == Pooling::kPooler && !base_.pooler) {
      return Status::error(ErrorCode::kMismatch, "%s: `use_pooler`: the base has no pooler", where_.c_str());
    }
    return {};
  }

  Status read_layers(uint64_t outputs, HeadSpec* head) {
    PETS_ASSIGN_OR_RETURN(const uint64_t count, get_unsigned(config_, "layers", where_, std::nullopt, kMaxHeadLayers));
    if (count == 0) return Status::error(ErrorCode::kInvalidArgument, "%s: `layers`: expected 1 or more, found 0", where_.c_str());
    PETS_ASSIGN_OR_RETURN(const bool bias, get_bool(config_, "bias", where_, true));
    PETS_ASSIGN_OR_RETURN(const std::string name, get_string(config_, "activation_function", where_, ""));
    const std::optional<Activation> activation = name.empty() ? Activation::kNone : adapterhub_activation(name);
    if (!activation) {
      return Status::error(ErrorCode::kUnsupported, "%s: `activation_function`: %s is not supported", where_.c_str(),
                           in_quotes(name).c_str());
    }
    // In torch's Sequential each layer is a dropout, the linear and, but for the last layer, the activation if there is one.
    const uint64_t stride = name.empty() ? 2 : 3;
    for (uint64_t i = 0; i < count; ++i) {
      const bool last = i + 1 == count;
      const std::string prefix = prefix_ + std::to_string(i * stride + 1) + ".";
      HeadLayer layer;
      PETS_ASSIGN_OR_RETURN(layer.weight, tensors_->matrix(prefix + "weight", last ? outputs : base_.hidden, base_.hidden));
      if (last && !bias) {
        layer.bias.assign(outputs, 0.0F);
      } else {
        PETS_ASSIGN_OR_RETURN(layer.bias, tensors_->vector(prefix + "bias", layer.weight.rows));
      }
      layer.activation = last ? Activation::kNone : *activation;
      head->layers.push_back(std::move(layer));
    }
    return {};
  }

  const BaseModel& base_;
  const OrderedJson& config_;
  std::string where_;
  std::string prefix_;
  TensorReader* tensors_;
};

/// A transformers task model's own classifier: nothing but the class of the model says what it is.
Result<HeadSpec> read_static_head(const BaseModel& base, const OrderedJson& file, const std::string& path, const SafetensorsFile& weights,
                                  const HeadRequest& request) {
  PETS_ASSIGN_OR_RETURN(const std::string model, get_string(file, "model_class", path, std::nullopt));
  const std::optional<HfTask> task = task_of_architecture(model);
  if (!task) {
    return Status::error(ErrorCode::kUnsupported, "%s: `model_class`: a head of %s is not supported", path.c_str(),
                         in_quotes(model).c_str());
  }
  HfHead head;
  head.task = *task;
  std::map<std::string, StoredTensor> tensors;
  for (const SafeTensor& tensor : weights.tensors()) {
    if (!tensor.name.starts_with("classifier.") && !tensor.name.starts_with("qa_outputs.")) {
      return Status::error(ErrorCode::kUnsupported, "%s: the tensor %s belongs to no head that is supported", weights.path().c_str(),
                           in_quotes(tensor.name).c_str());
    }
    tensors[tensor.name] = {&weights, &tensor};
  }
  PETS_ASSIGN_OR_RETURN(head.output, read_output_layer(tensors, base.hidden));
  head.output_is_qa = weights.find("qa_outputs.weight") != nullptr;
  if (head.output) {
    const uint64_t outputs = head.output->weight.rows;
    PETS_ASSIGN_OR_RETURN(const uint64_t stated, get_unsigned(file, "num_labels", path, outputs, kMaxLabels));
    if (stated != outputs) {
      return Status::error(ErrorCode::kMismatch, "%s: `num_labels`: expected %llu, the outputs in %s, found %llu", path.c_str(),
                           static_cast<unsigned long long>(outputs), kHeadWeightsName, static_cast<unsigned long long>(stated));
    }
    PETS_ASSIGN_OR_RETURN(head.labels, read_labels(file, path, outputs));
  }
  return make_hf_head(base, head, request, path);
}

Result<HeadSpec> read_flexible_head(const BaseModel& base, const OrderedJson& file, const std::string& path, const SafetensorsFile& weights,
                                    const HeadRequest& request) {
  for (const char* key : {"label2id", "num_labels"}) {
    if (!file.contains(key)) continue;
    return Status::error(ErrorCode::kUnsupported, "%s: unknown key `%s` beside `config`", path.c_str(), key);
  }
  const OrderedJson& config = file["config"];
  if (!config.is_object()) {
    return Status::error(ErrorCode::kInvalidArgument, "%s: `config`: expected an object, found %s", path.c_str(),
                         json_text(config).c_str());
  }
  PETS_ASSIGN_OR_RETURN(const std::string name, get_string(file, "name", path, std::nullopt));
  TensorReader tensors(weights);
  PETS_ASSIGN_OR_RETURN(HeadSpec head, FlexibleHead(base, config, path + ": config", name, &tensors).read());
  PETS_RETURN_IF_ERROR(tensors.check_all_taken());
  PETS_RETURN_IF_ERROR(apply_head_request(request, path, &head));
  return head;
}

}  // namespace

Result<HeadSpec> read_hub_head(const BaseModel& base, const std::string& directory, const HeadRequest& request) {
  const std::string path = join_path(directory, kHeadConfigName);
  const std::string weights_path = join_path(directory, kHeadWeightsName);
  const bool has_config = is_file(path);
  const bool has_weights = is_file(weights_path);
  if (!has_weights && is_file(join_path(directory, kPickledName))) {
    return Status::error(ErrorCode::kUnsupported, "%s: pickled weights are not read; save the adapter with use_safetensors=True",
                         join_path(directory, kPickledName).c_str());
  }
  if (!has_config && !has_weights) {
    HeadSpec head;
    PETS_RETURN_IF_ERROR(apply_head_request(request, directory, &head));
    return head;
  }
  if (!has_config || !has_weights) {
    return Status::error(ErrorCode::kNotFound, "%s: found %s but no %s", directory.c_str(), has_config ? kHeadConfigName : kHeadWeightsName,
                         has_config ? kHeadWeightsName : kHeadConfigName);
  }
  PETS_ASSIGN_OR_RETURN(const OrderedJson file, load_config_object(path));
  PETS_RETURN_IF_ERROR(check_keys(file, kHeadRules, path));
  PETS_ASSIGN_OR_RETURN(const std::string type, get_string(file, "model_type", path, "bert"));
  if (type != "bert") {
    return Status::error(ErrorCode::kMismatch, "%s: model_type: expected bert, found %s", path.c_str(), in_quotes(type).c_str());
  }
  PETS_ASSIGN_OR_RETURN(const SafetensorsFile weights, SafetensorsFile::open(weights_path));
  const bool is_static = !file.contains("config") || file["config"].is_null();
  return is_static ? read_static_head(base, file, path, weights, request) : read_flexible_head(base, file, path, weights, request);
}

}  // namespace pets::converter
