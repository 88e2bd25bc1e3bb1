// Checks one tensor of a segment: where it lies, what it holds, what shape it has.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "pets/status.h"
#include "schema/bundle_generated.h"
#include "schema/site.h"

namespace pets::bundle {

/// A size that is not known beforehand (a rank), or not at all (a delta bundle read without its base).
inline constexpr uint64_t kAnySize = UINT64_MAX;

/// Names a tensor without building a string until it is needed. `part` carries its separator: ".weight", ":low_rank.a".
struct TensorName {
  schema::Site site;  // kUnknown: `part` alone is the name; kHead: `head:<layer>` and `part`
  const char* part = "";
};
std::string to_string(const TensorName& name);

/// What a place in the schema accepts.
struct TensorSpec {
  /// A data type and a layout that it comes in.
  struct Form {
    schema::DataType type = schema::DataType::kUnknown;
    schema::Layout layout = schema::Layout::kUnknown;
  };
  std::array<Form, 8> forms{};  // kUnknown: no form
  std::array<uint64_t, 2> shape{};
  uint32_t dimensions = 0;
};

/// "float32", "panels16", ...; "unknown" for a value that this build does not know.
const char* type_name(schema::DataType type) noexcept;
const char* layout_name(schema::Layout layout) noexcept;

/// Checks the tensors of one segment and remembers them.
class SegmentChecker {
 public:
  /// `subject` starts every message: file, and task or "base".
  SegmentChecker(std::string subject, std::span<const std::byte> segment, uint64_t metadata_length)
      : subject_(std::move(subject)), segment_(segment), metadata_length_(metadata_length) {}

  const std::string& subject() const { return subject_; }
  std::span<const std::byte> segment() const { return segment_; }

  /// "<subject>: <text>", the text printf-style.
  [[gnu::format(printf, 3, 4)]] Status error(ErrorCode code, const char* format, ...) const;

  /// The tensor is there, has a type in its layout, and the shape, that `spec` asks for, and lies inside the segment with its slack.
  Status check(const schema::Tensor* tensor, const TensorName& name, const TensorSpec& spec);
  /// The same where the schema lets it be absent.
  Status check_optional(const schema::Tensor* tensor, const TensorName& name, const TensorSpec& spec) {
    return tensor == nullptr ? Status() : check(tensor, name, spec);
  }
  /// No two of the tensors checked so far share bytes: bounds the time that hostile files can take, too.
  Status check_no_overlap() const;
  /// The error for a segment whose checksum fails: names the damaged tensor where one can be told, else what `structure` found.
  Status damage(const Status& structure) const;

 private:
  Status check_form(schema::DataType type, schema::Layout layout, const TensorName& name, const TensorSpec& spec) const;

  struct Seen {
    const schema::Tensor* tensor;
    TensorName name;
  };
  std::string subject_;
  std::span<const std::byte> segment_;
  uint64_t metadata_length_;
  std::vector<Seen> seen_;
};

// The specs that occur again and again.
TensorSpec vector_spec(uint64_t size);              // float32 [size]
TensorSpec matrix_spec(uint64_t out, uint64_t in);  // float32 [out, in] in panels
/// [hidden, hidden]: float32 or float16 in panels, or, beside plain linears, plain in their type.
TensorSpec pooler_spec(uint64_t hidden, schema::DataType plain);
TensorSpec base_matrix_spec(uint64_t out, uint64_t in);       // [out, in] in panels of every precision, or plain for a GPU
TensorSpec table_spec(uint64_t rows, uint64_t columns);       // float32 [rows, columns], plain
TensorSpec base_table_spec(uint64_t rows, uint64_t columns);  // the same of every type that a GPU computes with
TensorSpec index_spec(schema::DataType type, uint64_t n);     // [n] of an integer type
TensorSpec mask_spec(uint64_t out, uint64_t in);              // bits of [out, in] in planes

}  // namespace pets::bundle
