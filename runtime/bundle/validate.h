// Validation of whole segments: after it, the engine may follow every pointer, offset and enum of a segment without checks.
//
// What it guarantees beyond bounds: every string, vector and table that bundle.fbs does not call absent is there (an empty vector is a
// vector); a golden example has either `ids` or `text`, and `logits`.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "pets/status.h"
#include "runtime/bundle/bundle_file.h"
#include "runtime/bundle/validate_tensor.h"

namespace pets::bundle {

/// Where the validation of a base or task starts: what the directory says of it.
struct SegmentContext {
  std::string subject;  // for messages
  std::span<const std::byte> bytes;
  uint64_t metadata_length = 0;
  bool checksum_matches = true;  // of the whole segment; true where it was not computed
};

/// Fills `dimensions`, and `base` with the segment's root. `fingerprint` is the directory's.
Status validate_base(const SegmentContext& context, std::string_view fingerprint, const schema::Base** base, Dimensions* dimensions);

/// `dimensions` null: the base is not at hand, only the task's own structure is checked.
Status validate_task(const SegmentContext& context, std::string_view name, std::string_view fingerprint, const Dimensions* dimensions,
                     const schema::Task** task);

// The parts of a task.

/// Operators fit their sites, at most one of a kind at a site, tensors fit the base.
Status validate_operators(SegmentChecker& checker, const schema::Task& task, const Dimensions* dimensions);
Status validate_head(SegmentChecker& checker, const schema::Head* head, const Dimensions* dimensions);

/// A dense layer with its bias. The scale of an int8 layer is the caller's to check; any other layer has none.
Status validate_linear(SegmentChecker& checker, const schema::Linear* linear, const TensorName& weight, const TensorName& bias,
                       const TensorSpec& spec);

/// Sizes of the linear at a site; kAnySize without dimensions.
struct LinearShape {
  uint64_t out = kAnySize, in = kAnySize;
};
LinearShape linear_shape(schema::SiteKind kind, const Dimensions* dimensions);

/// True for a text that is there and is valid UTF-8.
bool is_text(const flatbuffers::String* text);

/// Verifies the FlatBuffer of `bytes` with `Root` as its root type, or null. Limits follow from the size, so that time stays linear in it.
template <typename Root>
const Root* verified_root(std::span<const std::byte> bytes) {
  constexpr flatbuffers::uoffset_t kMaxDepth = 16;
  constexpr size_t kMaxMetadata = FLATBUFFERS_MAX_BUFFER_SIZE - 1;
  if (bytes.size() < 8 || bytes.size() > kMaxMetadata) return nullptr;
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  const auto max_tables = static_cast<flatbuffers::uoffset_t>(bytes.size() / 8 + 1);  // a table and the offset to it take 8 bytes
  flatbuffers::Verifier verifier(data, bytes.size(), kMaxDepth, max_tables);
  if (!verifier.VerifyBuffer<Root>(nullptr)) return nullptr;
  return flatbuffers::GetRoot<Root>(data);
}

}  // namespace pets::bundle
