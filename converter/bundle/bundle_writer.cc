#include "converter/bundle/bundle_writer.h"

#include <memory>

#include "converter/bundle/segment_builder.h"
#include "converter/files/temporary_file.h"
#include "pets/version.h"
#include "runtime/bundle/checksum.h"
#include "runtime/platform/check.h"
#include "schema/bundle_format.h"

namespace pets::converter {
namespace {

constexpr uint64_t kDirectoryOffset = sizeof(schema::FileHeader);

struct Placed {
  const SegmentImage* image;
  uint64_t offset;
  uint64_t checksum;
};

/// The directory, with the segments from `first` on, one after another (their lengths are whole pages).
std::vector<std::byte> make_directory(std::vector<Placed>& segments, bool has_base, const std::string& fingerprint, uint64_t first) {
  uint64_t offset = first;
  for (Placed& segment : segments) {
    segment.offset = offset;
    offset += segment.image->bytes.size();
  }
  flatbuffers::FlatBufferBuilder builder;
  const auto describe = [&](const Placed& segment) {
    return schema::CreateSegmentDirect(builder, segment.image->name.c_str(), segment.offset, segment.image->bytes.size(),
                                       segment.image->metadata_length, segment.checksum);
  };
  flatbuffers::Offset<schema::Segment> base;
  std::vector<flatbuffers::Offset<schema::Segment>> tasks;
  for (size_t i = 0; i < segments.size(); ++i) {
    if (has_base && i == 0) {
      base = describe(segments[i]);
    } else {
      tasks.push_back(describe(segments[i]));
    }
  }
  builder.Finish(schema::CreateBundleDirect(builder, base, &tasks, fingerprint.c_str(), "pets-convert " PETS_VERSION_STRING));
  const auto* data = reinterpret_cast<const std::byte*>(builder.GetBufferPointer());
  std::vector<std::byte> bytes(data, data + builder.GetSize());
  // Padded to the first segment, so that the checksums cover every byte of the file.
  bytes.resize(align_up(kDirectoryOffset + bytes.size(), schema::kSegmentAlignment) - kDirectoryOffset);
  return bytes;
}

schema::FileHeader make_header(const std::vector<std::byte>& directory, uint64_t file_size) {
  schema::FileHeader header{};
  std::memcpy(header.magic, schema::kMagic, sizeof header.magic);
  header.version = schema::kFormatVersion;
  header.header_size = sizeof header;
  header.file_size = file_size;
  header.directory_offset = kDirectoryOffset;
  header.directory_length = directory.size();
  header.directory_checksum = bundle::checksum(directory);
  const auto bytes = std::as_bytes(std::span(&header, 1));
  header.header_checksum = bundle::checksum(bytes.first(offsetof(schema::FileHeader, header_checksum)));
  return header;
}

}  // namespace

Result<TemporaryFile> stage_bundle(const std::string& path, const SegmentImage* base, const std::vector<SegmentImage>& tasks,
                                   const std::string& fingerprint) {
  std::vector<Placed> segments;
  if (base != nullptr) segments.push_back({base, 0, bundle::segment_checksum(base->bytes)});
  for (const SegmentImage& task : tasks) segments.push_back({&task, 0, bundle::segment_checksum(task.bytes)});
  // Where the segments start depends on the directory's size, which does not depend on where they start.
  const uint64_t first = kDirectoryOffset + make_directory(segments, base != nullptr, fingerprint, schema::kSegmentAlignment).size();
  const std::vector<std::byte> directory = make_directory(segments, base != nullptr, fingerprint, first);
  uint64_t size = first;
  for (const Placed& segment : segments) size += segment.image->bytes.size();
  const schema::FileHeader header = make_header(directory, size);

  PETS_ASSIGN_OR_RETURN(TemporaryFile file, TemporaryFile::create(path));
  PETS_RETURN_IF_ERROR(file.write(std::as_bytes(std::span(&header, 1))));
  PETS_RETURN_IF_ERROR(file.write(directory));
  for (const Placed& segment : segments) PETS_RETURN_IF_ERROR(file.write(segment.image->bytes));
  return file;
}

Status write_bundle(const std::string& path, const SegmentImage* base, const std::vector<SegmentImage>& tasks,
                    const std::string& fingerprint) {
  PETS_ASSIGN_OR_RETURN(TemporaryFile file, stage_bundle(path, base, tasks, fingerprint));
  return file.commit();
}

}  // namespace pets::converter
