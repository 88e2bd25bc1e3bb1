#include "converter/bundle/segment_builder.h"

#include <cstring>

#include "runtime/bundle/checksum.h"

namespace pets::converter {

SegmentBuilder::Handle SegmentBuilder::add_bytes(std::span<const std::byte> bytes, schema::DataType type, schema::Layout layout,
                                                 const Shape& shape) {
  payload_.resize(align_up(payload_.size(), alignment_));
  entries_.push_back({payload_.size(), bytes.size(), type, layout, shape, bundle::checksum(bytes)});
  payload_.insert(payload_.end(), bytes.begin(), bytes.end());
  return {entries_.size() - 1};
}

flatbuffers::Offset<schema::Tensor> SegmentBuilder::describe(Handle handle) {
  const Entry& entry = entries_[handle.index];
  return schema::CreateTensorDirect(*metadata_, payload_start_ + entry.offset, entry.length, entry.type, entry.layout, &entry.shape,
                                    entry.checksum);
}

SegmentImage SegmentBuilder::finish(std::string name, const std::function<void()>& write_metadata) {
  const auto build = [&](flatbuffers::FlatBufferBuilder& metadata, uint64_t payload_start) {
    metadata_ = &metadata;
    payload_start_ = payload_start;
    write_metadata();
    metadata_ = nullptr;
  };
  // Any non-zero start gives a buffer of the final size: FlatBuffers leaves out zeros, and nothing else depends on the value.
  flatbuffers::FlatBufferBuilder sizing, metadata;
  build(sizing, alignment_);
  payload_start_ = align_up(sizing.GetSize(), alignment_);
  build(metadata, payload_start_);

  SegmentImage image;
  image.name = std::move(name);
  image.metadata_length = metadata.GetSize();
  image.bytes.resize(align_up(payload_start_ + payload_.size() + schema::kTensorSlack, schema::kSegmentAlignment));
  std::memcpy(image.bytes.data(), metadata.GetBufferPointer(), metadata.GetSize());
  if (!payload_.empty()) std::memcpy(image.bytes.data() + payload_start_, payload_.data(), payload_.size());
  return image;
}

}  // namespace pets::converter
