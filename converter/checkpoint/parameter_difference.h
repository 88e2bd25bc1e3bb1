// One parameter of a fine-tuned model against the base's: which operators make the one of the other.
#pragma once

#include <cstdint>
#include <string>

#include "converter/huggingface/bert_names.h"
#include "converter/huggingface/tensor_store.h"
#include "converter/model/operator_set.h"
#include "pets/status.h"

namespace pets::converter {

/// A weight of which at most this share changed becomes a `sparse` operator, a word embedding of which at most this share of rows changed
/// becomes replaced rows; more is a dense difference. At 15 % a sparse weight (6 bytes a value) takes 0.9 bytes a weight, near a quarter
/// of the fp32 weight it spares, and its product costs as much as a low rank of 0.15 x min(out, in) / 2: beyond, the task is no small
/// delta.
inline constexpr double kMaxChangedShare = 0.15;

struct DifferenceOptions {
  bool as_low_rank = false;  // a dense difference of a linear's weight is approximated
  uint32_t rank = 0;
  const char* advice = "";  // ends the refusal of a dense difference: what to do instead
  /// A checkpoint of a narrower type holds every parameter, most of them untrained: see `floats_restored_from`.
  bool restore_rounded = true;
};

/// What approximation cost, over all weights that were approximated.
struct DifferenceReport {
  double difference_squares = 0, remaining_squares = 0;
  double worst = 0;  // the largest |remaining| / |difference| of one weight
  std::string worst_name;
  uint64_t approximated = 0;
};

/// Compares the stored parameter with the base's. Adds nothing where they are equal; else a bias, a norm, a mask (every change is to
/// exactly 0), a sparse difference, a mask for the zeros and a sparse difference for the few other changes, replaced rows, or with
/// `as_low_rank` a low rank. A dense difference is refused with its size.
Status add_difference(const BaseModel& base, Place place, const StoredTensor& stored, const DifferenceOptions& options,
                      OperatorSet& operators, DifferenceReport& report);

/// The stored values, of the same parameter as `base`. A value that is the base's, rounded to the stored type (F16, BF16), was not trained:
/// it is the base's own, unrounded.
Result<std::vector<float>> floats_restored_from(const std::vector<float>& base, const StoredTensor& stored,
                                                const std::vector<uint64_t>& shape);

}  // namespace pets::converter
