#include "tests/bundle/reseal.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "runtime/bundle/checksum.h"
#include "schema/bundle_format.h"

namespace pets::bundle_test {
namespace {

constexpr std::align_val_t kAlignment{64};

bool is_inside(uint64_t offset, uint64_t length, uint64_t size) { return offset <= size && length <= size - offset; }

void reseal_segment(std::span<std::byte> file, const schema::Segment* segment) {
  if (segment == nullptr || !is_inside(segment->offset(), segment->length(), file.size())) return;
  const auto* table = reinterpret_cast<const flatbuffers::Table*>(segment);
  if (table->GetAddressOf(schema::Segment::VT_CHECKSUM) == nullptr) return;
  set_field<uint64_t>(segment, schema::Segment::VT_CHECKSUM, bundle::segment_checksum(file.subspan(segment->offset(), segment->length())));
}

void reseal_segments(std::span<std::byte> file, std::span<const std::byte> directory) {
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(directory.data()), directory.size(), 16, 100000);
  if (directory.size() < 8 || !verifier.VerifyBuffer<schema::Bundle>(nullptr)) return;
  const auto* bundle = flatbuffers::GetRoot<schema::Bundle>(directory.data());
  reseal_segment(file, bundle->base());
  if (bundle->tasks() == nullptr) return;
  for (const schema::Segment* task : *bundle->tasks()) reseal_segment(file, task);
}

}  // namespace

AlignedBytes::AlignedBytes(std::span<const std::byte> bytes)
    : data_(static_cast<std::byte*>(::operator new(bytes.size(), kAlignment))), size_(bytes.size()) {
  if (size_ != 0) std::memcpy(data_, bytes.data(), size_);
}

AlignedBytes::~AlignedBytes() { ::operator delete(data_, kAlignment); }

void reseal(std::span<std::byte> file) {
  schema::FileHeader header;
  if (file.size() < sizeof header) return;
  std::memcpy(&header, file.data(), sizeof header);
  if (is_inside(header.directory_offset, header.directory_length, file.size()) && header.directory_offset % 64 == 0) {
    const auto directory = file.subspan(header.directory_offset, header.directory_length);
    reseal_segments(file, directory);
    header.directory_checksum = bundle::checksum(directory);
  }
  const auto bytes = std::as_bytes(std::span(&header, 1));
  header.header_checksum = bundle::checksum(bytes.first(offsetof(schema::FileHeader, header_checksum)));
  std::memcpy(file.data(), &header, sizeof header);
}

const schema::Bundle& directory_of(std::span<const std::byte> file) {
  schema::FileHeader header;
  std::memcpy(&header, file.data(), sizeof header);
  return *flatbuffers::GetRoot<schema::Bundle>(file.data() + header.directory_offset);
}

std::byte* field_address(const void* table, flatbuffers::voffset_t field) {
  const uint8_t* address = static_cast<const flatbuffers::Table*>(table)->GetAddressOf(field);
  if (address == nullptr) {
    std::fprintf(stderr, "field %u is absent\n", static_cast<unsigned>(field));
    std::abort();
  }
  return const_cast<std::byte*>(reinterpret_cast<const std::byte*>(address));
}

}  // namespace pets::bundle_test
