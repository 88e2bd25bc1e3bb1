#include "converter/model/head_request.h"

#include "converter/model/names.h"
#include "runtime/platform/check.h"

namespace pets::converter {
namespace {

bool reads_tokens(HeadType type) { return type == HeadType::kTokenClassification || type == HeadType::kQuestionAnswering; }

bool has_labels(HeadType type) { return type != HeadType::kQuestionAnswering && type != HeadType::kEmbedding; }

Status refuse(const std::string& where, const std::string& message) {
  return Status::error(ErrorCode::kInvalidArgument, "%s: %s", where.c_str(), message.c_str());
}

Status choose_type(const HeadRequest& request, const std::string& where, HeadSpec* head) {
  const std::string wanted(head_type_name(request.type));
  if (request.type == HeadType::kUnknown) {
    if (head->type != HeadType::kUnknown) return {};
    return refuse(where, "there is no head; expected one, or head: {type: embedding, pooling: mean|cls|pooler} in the manifest");
  }
  if (request.type == head->type) return {};
  if (head->type == HeadType::kUnknown) {
    if (request.type != HeadType::kEmbedding) return refuse(where, "there is no head; the manifest expects one of type " + wanted);
    head->type = HeadType::kEmbedding;
    return {};
  }
  const bool embeds = head->type == HeadType::kEmbedding || request.type == HeadType::kEmbedding;
  if (embeds || reads_tokens(head->type) != reads_tokens(request.type)) {
    return refuse(where,
                  "the manifest expects a head of type " + wanted + ", found one of type " + std::string(head_type_name(head->type)));
  }
  head->type = request.type;
  return {};
}

Status choose_pooling(const HeadRequest& request, const std::string& where, HeadSpec* head) {
  if (head->pooling == Pooling::kUnknown) head->pooling = request.pooling;
  if (head->pooling == Pooling::kUnknown) return refuse(where, "an embedding needs pooling: mean, cls or pooler in the manifest");
  if (request.pooling == Pooling::kUnknown || request.pooling == head->pooling) return {};
  return refuse(where, "the manifest expects pooling " + std::string(pooling_name(request.pooling)) +
                           ", found a head that was trained with " + std::string(pooling_name(head->pooling)));
}

Status check_outputs(const std::string& where, const HeadSpec& head) {
  const uint64_t outputs = head_outputs(head);
  const std::string type(head_type_name(head.type));
  const auto expected = [&](const char* count) {
    return refuse(where, "a head of type " + type + " needs " + count + ", found " + std::to_string(outputs));
  };
  if (head.type == HeadType::kRegression && outputs != 1) return expected("1 output");
  if (head.type == HeadType::kQuestionAnswering && outputs != 2) return expected("2 outputs (start and end)");
  return {};
}

Status choose_labels(const HeadRequest& request, const std::string& where, HeadSpec* head) {
  if (!has_labels(head->type)) {
    if (!request.labels.empty()) {
      return refuse(where, "the manifest gives labels to a head of type " + std::string(head_type_name(head->type)) + ", which has none");
    }
    head->labels.clear();
    return {};
  }
  if (!request.labels.empty()) head->labels = request.labels;
  if (head->type == HeadType::kRegression && request.labels.empty()) {
    head->labels.clear();  // a file's LABEL_0 says nothing
    return {};
  }
  const uint64_t outputs = head_outputs(*head);
  if (head->labels.empty()) {
    for (uint64_t i = 0; i < outputs; ++i) head->labels.push_back("LABEL_" + std::to_string(i));
  }
  for (size_t i = 0; i < head->labels.size(); ++i) {  // so that answers never hold two of one name
    if (head->labels[i].empty()) head->labels[i] = "LABEL_" + std::to_string(i);
  }
  if (head->labels.size() != outputs) {
    return refuse(where, "expected " + std::to_string(outputs) + " labels, one for each output of the head, found " +
                             std::to_string(head->labels.size()) + (request.labels.empty() ? "" : " in the manifest"));
  }
  return {};
}

}  // namespace

uint64_t head_outputs(const HeadSpec& head) { return head.layers.empty() ? 0 : head.layers.back().weight.rows; }

Status apply_head_request(const HeadRequest& request, const std::string& where, HeadSpec* head) {
  PETS_RETURN_IF_ERROR(choose_type(request, where, head));
  PETS_RETURN_IF_ERROR(choose_pooling(request, where, head));
  if (request.normalize.has_value() && head->type != HeadType::kEmbedding) {
    return refuse(
        where, "the manifest gives normalize to a head of type " + std::string(head_type_name(head->type)) + "; it is for embeddings only");
  }
  if (request.normalize.has_value()) head->normalize = *request.normalize;
  PETS_RETURN_IF_ERROR(check_outputs(where, *head));
  return choose_labels(request, where, head);
}

}  // namespace pets::converter
