#include "runtime/bundle/text.h"
#include "runtime/bundle/validate.h"
#include "runtime/platform/check.h"

namespace pets::bundle {
namespace {

using schema::HeadType;
using schema::Pooling;

/// Sizes of the dense layers follow from one another; the last one's outputs are the logits.
Status check_layers(SegmentChecker& checker, const schema::Head& head, const Dimensions* dimensions, uint64_t* outputs) {
  *outputs = dimensions == nullptr ? kAnySize : dimensions->hidden;
  for (uint32_t i = 0; i < head.layers()->size(); ++i) {
    const schema::HeadLayer* layer = head.layers()->Get(i);
    const schema::Site site{schema::SiteKind::kHead, i};
    PETS_RETURN_IF_ERROR(validate_linear(checker, layer == nullptr ? nullptr : layer->linear(), {site, ".weight"}, {site, ".bias"},
                                         matrix_spec(kAnySize, *outputs)));
    if (layer->activation() > schema::Activation::MAX) {
      return checker.error(ErrorCode::kUnsupported, "head: layer %u has activation %u, this build knows 0 to %u", i,
                           static_cast<unsigned>(layer->activation()), static_cast<unsigned>(schema::Activation::MAX));
    }
    *outputs = layer->linear()->weight()->shape()->Get(0);
    if (*outputs == 0) return checker.error(ErrorCode::kDamaged, "head: layer %u has no outputs", i);
  }
  return {};
}

/// Token classification and question answering read every token, the other heads one row a query.
Status check_pooling(const SegmentChecker& checker, const schema::Head& head, const Dimensions* dimensions) {
  const bool per_token = head.type() == HeadType::kTokenClassification || head.type() == HeadType::kQuestionAnswering;
  if (head.pooling() == Pooling::kUnknown || (head.pooling() == Pooling::kTokens) != per_token) {
    return checker.error(ErrorCode::kDamaged, "head: pooling %s does not fit type %s", schema::EnumNamePooling(head.pooling()),
                         schema::EnumNameHeadType(head.type()));
  }
  if (head.pooling() == Pooling::kPooler && dimensions != nullptr && !dimensions->has_pooler) {
    return checker.error(ErrorCode::kDamaged, "head: it reads the base's pooler, and this base has none");
  }
  return {};
}

Status check_labels(const SegmentChecker& checker, const schema::Head& head, uint64_t outputs) {
  const uint32_t found = head.labels()->size();
  const bool named = head.type() == HeadType::kSequenceClassification || head.type() == HeadType::kMultiLabelClassification ||
                     head.type() == HeadType::kTokenClassification;
  const bool right = found == outputs || (found == 0 && !named);
  if (!right || (head.type() == HeadType::kEmbedding && found != 0)) {
    return checker.error(ErrorCode::kDamaged, "head: %u labels for %llu outputs", found, static_cast<unsigned long long>(outputs));
  }
  for (uint32_t i = 0; i < found; ++i) {
    if (!is_text(head.labels()->Get(i))) return checker.error(ErrorCode::kDamaged, "head: label %u is not valid UTF-8", i);
  }
  return {};
}

}  // namespace

Status validate_head(SegmentChecker& checker, const schema::Head* head, const Dimensions* dimensions) {
  if (head == nullptr || head->layers() == nullptr || head->labels() == nullptr) {
    return checker.error(ErrorCode::kDamaged, "head: it is missing or lacks its layers or labels");
  }
  if (head->type() == HeadType::kUnknown || head->type() > HeadType::MAX || head->pooling() > Pooling::MAX) {
    return checker.error(ErrorCode::kUnsupported, "head: type %u with pooling %u, this build knows types 1 to %u and poolings 1 to %u",
                         static_cast<unsigned>(head->type()), static_cast<unsigned>(head->pooling()), static_cast<unsigned>(HeadType::MAX),
                         static_cast<unsigned>(Pooling::MAX));
  }
  uint64_t outputs = 0;
  PETS_RETURN_IF_ERROR(check_layers(checker, *head, dimensions, &outputs));
  PETS_RETURN_IF_ERROR(check_pooling(checker, *head, dimensions));
  if (head->layers()->size() == 0 && head->type() != HeadType::kEmbedding) {
    return checker.error(ErrorCode::kDamaged, "head: type %s needs a dense layer", schema::EnumNameHeadType(head->type()));
  }
  if (head->type() == HeadType::kQuestionAnswering && outputs != 2) {
    return checker.error(ErrorCode::kDamaged, "head: question answering needs 2 outputs, found %llu",
                         static_cast<unsigned long long>(outputs));
  }
  return check_labels(checker, *head, outputs);
}

}  // namespace pets::bundle
