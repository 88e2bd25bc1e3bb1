// Re-runs the goldens that tasks carry.
#include <algorithm>
#include <cmath>
#include <new>

#include "pets/session.h"
#include "runtime/engine/model_impl.h"

namespace pets {
namespace {

constexpr float kLogitFloor = 1e-6F;

Query query_of(const schema::GoldenExample& golden, std::string_view task) {
  Query query;
  query.task = task;
  if (golden.ids() != nullptr && golden.ids()->size() != 0) {
    query.ids = {golden.ids()->data(), golden.ids()->size()};
    query.has_ids = true;
    return query;
  }
  if (golden.text() != nullptr) query.text = {golden.text()->c_str(), golden.text()->size()};
  query.has_text_pair = golden.text_pair() != nullptr;
  if (query.has_text_pair) query.text_pair = {golden.text_pair()->c_str(), golden.text_pair()->size()};
  return query;
}

/// What the goldens of one task add up to. An answer near a decision has small logits: errors are measured by the task's largest.
struct GoldenErrors {
  float largest_logit = kLogitFloor, largest_error = 0;

  /// An error that is not a number counts as infinite.
  void add(std::span<const float> found, const flatbuffers::Vector<float>& expected) {
    for (uint32_t i = 0; i < expected.size(); ++i) {
      largest_logit = std::max(largest_logit, std::fabs(expected.Get(i)));
      const float difference = std::fabs(found[i] - expected.Get(i));
      largest_error = std::isfinite(difference) ? std::max(largest_error, difference) : HUGE_VALF;
    }
  }
};

schema::DataType precision_of(kernels::WeightType type) {
  switch (type) {
    case kernels::WeightType::kFloat16:
      return schema::DataType::kFloat16;
    case kernels::WeightType::kBFloat16:
      return schema::DataType::kBFloat16;
    case kernels::WeightType::kInt8:
      return schema::DataType::kInt8;
    case kernels::WeightType::kFloat32:
      break;
  }
  return schema::DataType::kFloat32;
}

/// How far a precision may move logits, as a part of the largest: docs/decisions.md, 12.
float precision_drift(schema::DataType type) {
  switch (type) {
    case schema::DataType::kFloat16:
      return 0.02F;
    case schema::DataType::kBFloat16:
      return 0.05F;
    case schema::DataType::kInt8:
      return 0.3F;
    default:
      return 0;
  }
}

/// What is allowed beside the caller's tolerance. Goldens of the same precision agree to the last bits where activations stay float32.
/// bfloat16 and int8 round them: another instruction set, with other last bits, rounds some of them the other way, and the roundings after
/// those are new ones, so that the two answers may be as far apart as either is from the exact one.
/// So may half precision where a GPU computes in it, or the base was packed for one, with its embedding tables (`rounds_more`).
float allowed_error(schema::DataType answered, schema::DataType found, bool rounds_more) {
  if (answered != found) return precision_drift(answered) + precision_drift(found);
  return rounds_more || found == schema::DataType::kBFloat16 || found == schema::DataType::kInt8 ? precision_drift(found) : 0;
}

Model::SelfCheck check_task(Session& session, const engine::Task& task, schema::DataType precision, bool rounds_more, float tolerance) {
  Model::SelfCheck check;
  const schema::DataType answered = task.source->golden_precision();
  check.other_precision = answered != schema::DataType::kUnknown && answered != precision;
  tolerance = std::max(tolerance, allowed_error(check.other_precision ? answered : precision, precision, rounds_more));
  check.task = task.info.name;
  GoldenErrors errors;
  const auto* goldens = task.source->goldens();
  const uint32_t count = goldens == nullptr ? 0 : goldens->size();
  for (uint32_t i = 0; i < count; ++i) {
    const schema::GoldenExample& golden = *goldens->Get(i);
    const Query query = query_of(golden, task.info.name);
    Status failed;
    const Status ran = session.run({&query, 1}, [&](size_t, const Answer& answer) {
      if (!answer.status) {
        failed = answer.status;
      } else if (golden.logits() == nullptr || golden.logits()->size() != answer.logits.size()) {
        failed = Status::error(ErrorCode::kDamaged, "golden %u holds %u logits, the answer has %zu", i,
                               golden.logits() == nullptr ? 0U : golden.logits()->size(), answer.logits.size());
      } else {
        errors.add(answer.logits, *golden.logits());
      }
    });
    if (!ran) failed = ran;
    if (!failed && check.status.is_ok()) check.status = failed;
    ++check.queries;
  }
  check.largest_error = errors.largest_error / errors.largest_logit;
  if (check.status.is_ok() && !(check.largest_error <= tolerance)) {
    check.status = Status::error(ErrorCode::kInternal, "task '%s': largest relative error %.3g, expected at most %.3g", check.task.c_str(),
                                 static_cast<double>(check.largest_error), static_cast<double>(tolerance));
  }
  return check;
}

}  // namespace

Result<std::vector<Model::SelfCheck>> Model::self_check(Session& session, float tolerance) const {
  if (&session.model() != this) return Status::error(ErrorCode::kInvalidArgument, "self_check: the session belongs to another model");
  try {
    const auto tasks = impl_->tasks.view([](const engine::TaskSet& set) { return set.tasks; });
    const schema::DataType precision = precision_of(impl_->base.linear_type);
    const schema::Tensor& weight = *impl_->base_file->bundle->base().base->encoder()->Get(0)->query()->weight();
    const bool rounds_more = impl_->device != nullptr || weight.layout() == schema::Layout::kPlain;
    std::vector<SelfCheck> checks;
    checks.reserve(tasks.size());
    for (const auto& task : tasks) checks.push_back(check_task(session, *task, precision, rounds_more, tolerance));
    return checks;
  } catch (const std::bad_alloc&) {
    return Status::error(ErrorCode::kResourceExhausted, "self_check: out of memory");
  }
}

}  // namespace pets
