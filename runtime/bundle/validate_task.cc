#include "runtime/bundle/text.h"
#include "runtime/bundle/validate.h"
#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"

namespace pets::bundle {
namespace {

Status check_goldens(const SegmentChecker& checker, const schema::Task& task) {
  if (task.goldens() == nullptr) return checker.error(ErrorCode::kDamaged, "its golden examples are missing");
  for (const schema::GoldenExample* golden : *task.goldens()) {
    if (golden == nullptr || (golden->ids() == nullptr && golden->text() == nullptr) || golden->logits() == nullptr) {
      return checker.error(ErrorCode::kDamaged, "a golden example lacks its query or its logits");
    }
  }
  return {};
}

Status check_structure(SegmentChecker& checker, const schema::Task& task, std::string_view name, std::string_view fingerprint,
                       const Dimensions* dimensions) {
  if (task.name() == nullptr || task.name()->string_view() != name) {
    return checker.error(ErrorCode::kDamaged, "the segment holds another task, \"%s\"",
                         task.name() == nullptr ? "" : utf8::printable(task.name()->string_view()).c_str());
  }
  if (!is_text(task.source()) || task.base_fingerprint() == nullptr) {
    return checker.error(ErrorCode::kDamaged, "its source or its base's fingerprint is missing");
  }
  if (task.base_fingerprint()->string_view() != fingerprint) {
    return checker.error(ErrorCode::kMismatch, "it belongs to base %s, the bundle's base is %s",
                         utf8::printable(task.base_fingerprint()->string_view()).c_str(), std::string(fingerprint).c_str());
  }
  const uint64_t positions = dimensions == nullptr ? kAnySize : dimensions->positions;
  if (task.max_length() == 0 || task.max_length() > positions) {
    return checker.error(ErrorCode::kDamaged, "max_length is %u, expected 1 to the base's %llu positions", task.max_length(),
                         static_cast<unsigned long long>(positions));
  }
  PETS_RETURN_IF_ERROR(check_goldens(checker, task));
  PETS_RETURN_IF_ERROR(validate_head(checker, task.head(), dimensions));
  return validate_operators(checker, task, dimensions);
}

}  // namespace

Status validate_task(const SegmentContext& context, std::string_view name, std::string_view fingerprint, const Dimensions* dimensions,
                     const schema::Task** task) {
  SegmentChecker checker(context.subject, context.bytes, context.metadata_length);
  const auto* root = verified_root<schema::Task>(context.bytes.first(context.metadata_length));
  const Status structure = root == nullptr ? checker.error(ErrorCode::kDamaged, "its metadata is not a valid FlatBuffer")
                                           : check_structure(checker, *root, name, fingerprint, dimensions);
  if (!context.checksum_matches) return checker.damage(structure);
  if (structure) *task = root;
  return structure;
}

}  // namespace pets::bundle
