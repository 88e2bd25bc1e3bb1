// Lays out one segment: a FlatBuffer, then tensors at aligned offsets, then slack up to a whole page.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "converter/bundle/bundle_writer.h"
#include "schema/bundle_format.h"
#include "schema/bundle_generated.h"

namespace pets::converter {

/// Rounds up to a multiple of `alignment`, a power of two.
constexpr uint64_t align_up(uint64_t value, uint64_t alignment) { return (value + alignment - 1) & ~(alignment - 1); }

/// Collects tensors first, then writes the metadata that points at them. Identical input gives identical bytes.
class SegmentBuilder {
 public:
  using Shape = std::vector<uint64_t>;
  /// A tensor that was added.
  struct Handle {
    size_t index = 0;
  };

  /// `alignment` of the tensors, in bytes: kTensorAlignment or a multiple of it.
  explicit SegmentBuilder(uint64_t alignment = schema::kTensorAlignment) : alignment_(alignment) {}

  template <typename T>
  Handle add(std::span<const T> values, schema::DataType type, const Shape& shape, schema::Layout layout = schema::Layout::kPlain) {
    return add_bytes(std::as_bytes(values), type, layout, shape);
  }

  /// Inside `finish` only: the schema's view of a tensor. The offset holds good for the metadata that is being written.
  flatbuffers::Offset<schema::Tensor> describe(Handle handle);
  flatbuffers::FlatBufferBuilder& metadata() { return *metadata_; }

  /// `write_metadata` builds the root table with `metadata()` and `describe()` and finishes the buffer. It is called twice, since the
  /// offsets depend on its size, and must do the same both times.
  SegmentImage finish(std::string name, const std::function<void()>& write_metadata);

 private:
  struct Entry {
    uint64_t offset, length;  // offset counts from the first tensor
    schema::DataType type;
    schema::Layout layout;
    Shape shape;
    uint64_t checksum;
  };
  Handle add_bytes(std::span<const std::byte> bytes, schema::DataType type, schema::Layout layout, const Shape& shape);

  uint64_t alignment_;
  std::vector<Entry> entries_;
  std::vector<std::byte> payload_;
  uint64_t payload_start_ = 0;
  flatbuffers::FlatBufferBuilder* metadata_ = nullptr;
};

}  // namespace pets::converter
