#include "runtime/bundle/bundle_file.h"

#include <algorithm>
#include <bit>
#include <exception>
#include <unordered_set>

#include "runtime/bundle/checksum.h"
#include "runtime/bundle/text.h"
#include "runtime/bundle/validate.h"
#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"
#include "schema/bundle_format.h"

namespace pets::bundle {
namespace {

static_assert(std::endian::native == std::endian::little, "bundles are little-endian and read in place");

using Bytes = std::span<const std::byte>;
using schema::FileHeader;

unsigned long long number(uint64_t value) { return value; }

/// The header of a file whose size and checksum are right.
Result<FileHeader> read_header(Bytes bytes, const char* path) {
  if (bytes.size() < sizeof(schema::kMagic) || std::memcmp(bytes.data(), schema::kMagic, sizeof(schema::kMagic)) != 0) {
    return Status::error(ErrorCode::kDamaged, "%s: not a pets bundle (it does not start with \"PETSBNDL\")", path);
  }
  if (bytes.size() < sizeof(FileHeader)) {
    return Status::error(ErrorCode::kDamaged, "%s: truncated: %zu bytes, a header has %zu", path, bytes.size(), sizeof(FileHeader));
  }
  FileHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.version > schema::kFormatVersion) {  // before the checksum: a later version may put it elsewhere
    return Status::error(ErrorCode::kUnsupported, "%s: bundle format version %u, this build reads versions up to %u: use a newer pets",
                         path, header.version, schema::kFormatVersion);
  }
  if (checksum(bytes.first(offsetof(FileHeader, header_checksum))) != header.header_checksum) {
    return Status::error(ErrorCode::kDamaged, "%s: the header's checksum does not match", path);
  }
  if (header.version == 0 || header.header_size != sizeof(FileHeader) || header.reserved != 0) {
    return Status::error(ErrorCode::kDamaged, "%s: the header's version, size or reserved field is not as version %u has it", path,
                         schema::kFormatVersion);
  }
  if (header.file_size != bytes.size()) {
    return Status::error(ErrorCode::kDamaged, "%s: %s: %zu bytes, the header says %llu", path,
                         bytes.size() < header.file_size ? "truncated" : "too long", bytes.size(), number(header.file_size));
  }
  return header;
}

Result<const schema::Bundle*> read_directory(Bytes bytes, const FileHeader& header, const char* path) {
  const uint64_t offset = header.directory_offset, length = header.directory_length;
  if (offset < sizeof(FileHeader) || offset % schema::kTensorAlignment != 0 || offset > bytes.size() || length > bytes.size() - offset) {
    return Status::error(ErrorCode::kDamaged, "%s: the directory (bytes %llu + %llu) does not lie inside the file's %zu bytes", path,
                         number(offset), number(length), bytes.size());
  }
  const Bytes directory = bytes.subspan(offset, length);
  if (checksum(directory) != header.directory_checksum) {
    return Status::error(ErrorCode::kDamaged, "%s: the directory's checksum does not match", path);
  }
  const auto* bundle = verified_root<schema::Bundle>(directory);
  if (bundle == nullptr || bundle->tasks() == nullptr || bundle->base_fingerprint() == nullptr || !is_text(bundle->producer())) {
    return Status::error(ErrorCode::kDamaged, "%s: the directory is not a valid FlatBuffer or lacks a field", path);
  }
  if (!is_valid_fingerprint(bundle->base_fingerprint()->string_view())) {
    return Status::error(ErrorCode::kDamaged, "%s: the base's fingerprint is not 32 hexadecimal digits", path);
  }
  return bundle;
}

Status check_extent(const schema::Segment& segment, const FileHeader& header, const char* path, const std::string& what) {
  const uint64_t first = header.directory_offset + header.directory_length;
  const uint64_t offset = segment.offset(), length = segment.length();
  if (offset % schema::kSegmentAlignment != 0 || offset < first || offset > header.file_size || length > header.file_size - offset ||
      segment.metadata_length() > length) {
    return Status::error(ErrorCode::kDamaged,
                         "%s: %s: its segment (bytes %llu + %llu, metadata %llu) does not lie inside the file's %llu bytes", path,
                         what.c_str(), number(offset), number(length), number(segment.metadata_length()), number(header.file_size));
  }
  return {};
}

Status check_apart(std::vector<const schema::Segment*> segments, const char* path) {
  std::sort(segments.begin(), segments.end(), [](const auto* a, const auto* b) { return a->offset() < b->offset(); });
  for (size_t i = 1; i < segments.size(); ++i) {
    if (segments[i - 1]->offset() + segments[i - 1]->length() > segments[i]->offset()) {
      return Status::error(ErrorCode::kDamaged, "%s: two segments overlap at byte %llu", path, number(segments[i]->offset()));
    }
  }
  return {};
}

std::string task_subject(const char* path, std::string_view name) { return std::string(path) + ": task \"" + std::string(name) + "\""; }

/// Segments inside the file and apart, tasks with proper names, none twice. All of them in file order, the base first.
Result<std::vector<const schema::Segment*>> check_segments(const schema::Bundle& bundle, const FileHeader& header, const char* path) {
  std::vector<const schema::Segment*> segments;
  segments.reserve(bundle.tasks()->size() + size_t{1});
  if (bundle.base() != nullptr) {
    segments.push_back(bundle.base());
    PETS_RETURN_IF_ERROR(check_extent(*bundle.base(), header, path, "base"));
  }
  std::unordered_set<std::string_view> names;
  names.reserve(bundle.tasks()->size());
  for (uint32_t i = 0; i < bundle.tasks()->size(); ++i) {
    const schema::Segment* task = bundle.tasks()->Get(i);
    if (task == nullptr || task->name() == nullptr || !is_valid_task_name(task->name()->string_view())) {
      return Status::error(ErrorCode::kDamaged, "%s: task %u has no valid name", path, i);
    }
    const std::string_view name = task->name()->string_view();
    if (!names.insert(name).second) {
      return Status::error(ErrorCode::kDamaged, "%s: two tasks are named \"%s\"", path, utf8::printable(name).c_str());
    }
    PETS_RETURN_IF_ERROR(check_extent(*task, header, path, "task \"" + std::string(name) + "\""));
    segments.push_back(task);
  }
  PETS_RETURN_IF_ERROR(check_apart(segments, path));
  return segments;
}

Status out_of_memory(const char* path) { return Status::error(ErrorCode::kResourceExhausted, "%s: not enough memory to open it", path); }

}  // namespace

/// Fills a BundleFile.
class BundleFileReader {
 public:
  BundleFileReader(BundleFile& file, const char* path, Verification verification) : file_(file), path_(path), verification_(verification) {}

  Status read(const Dimensions* given) {
    if (reinterpret_cast<uintptr_t>(file_.bytes_.data()) % schema::kTensorAlignment != 0) {
      return Status::error(ErrorCode::kInvalidArgument, "%s: the bytes of a bundle must be aligned to %llu", path_,
                           number(schema::kTensorAlignment));
    }
    PETS_ASSIGN_OR_RETURN(const FileHeader header, read_header(file_.bytes_, path_));
    PETS_ASSIGN_OR_RETURN(const schema::Bundle* bundle, read_directory(file_.bytes_, header, path_));
    file_.path_ = path_;
    file_.fingerprint_ = bundle->base_fingerprint()->str();
    file_.producer_ = bundle->producer()->str();
    PETS_ASSIGN_OR_RETURN(const auto segments, check_segments(*bundle, header, path_));
    const std::vector<bool> intact = verify_checksums(segments);
    size_t next = 0;
    if (bundle->base() != nullptr) {
      const SegmentContext context = context_of(*bundle->base(), std::string(path_) + ": base", intact[next++]);
      PETS_RETURN_IF_ERROR(validate_base(context, file_.fingerprint_, &file_.base_.base, &file_.dimensions_));
      file_.base_.bytes = context.bytes;
    }
    const Dimensions* dimensions = bundle->base() != nullptr ? &file_.dimensions_ : given;
    file_.tasks_.reserve(bundle->tasks()->size());
    for (const schema::Segment* segment : *bundle->tasks()) read_task(*segment, intact[next++], dimensions);
    return {};
  }

 private:
  SegmentContext context_of(const schema::Segment& segment, std::string subject, bool intact) const {
    return {std::move(subject), file_.bytes_.subspan(segment.offset(), segment.length()), segment.metadata_length(), intact};
  }

  std::vector<bool> verify_checksums(const std::vector<const schema::Segment*>& segments) const {
    std::vector<bool> intact(segments.size(), true);
    if (verification_ == Verification::kStructure) return intact;
    std::vector<Bytes> ranges;
    ranges.reserve(segments.size());
    for (const schema::Segment* segment : segments) ranges.push_back(file_.bytes_.subspan(segment->offset(), segment->length()));
    const std::vector<uint64_t> found = segment_checksums(ranges);
    for (size_t i = 0; i < segments.size(); ++i) intact[i] = found[i] == segments[i]->checksum();
    return intact;
  }

  void read_task(const schema::Segment& segment, bool intact, const Dimensions* dimensions) {
    TaskSegment& task = file_.tasks_.emplace_back();
    task.name = segment.name()->str();
    const SegmentContext context = context_of(segment, task_subject(path_, task.name), intact);
    task.bytes = context.bytes;
    task.status = validate_task(context, task.name, file_.fingerprint_, dimensions, &task.task);
  }

  BundleFile& file_;
  const char* path_;
  Verification verification_;
};

Result<std::shared_ptr<const BundleFile>> BundleFile::open(const char* path, bool copy, Verification verification,
                                                           const Dimensions* base) noexcept {
  try {
    PETS_ASSIGN_OR_RETURN(platform::MappedFile mapped, platform::MappedFile::open(path, copy));
    auto file = std::make_shared<BundleFile>();
    file->file_ = std::move(mapped);
    file->bytes_ = file->file_.bytes();
    PETS_RETURN_IF_ERROR(BundleFileReader(*file, path, verification).read(base));
    return std::shared_ptr<const BundleFile>(std::move(file));
  } catch (const std::exception&) {  // std::bad_alloc, std::length_error
    return out_of_memory(path);
  }
}

Result<std::shared_ptr<const BundleFile>> BundleFile::parse(Bytes bytes, const char* path, Verification verification,
                                                            const Dimensions* base) noexcept {
  try {
    auto file = std::make_shared<BundleFile>();
    file->bytes_ = bytes;
    PETS_RETURN_IF_ERROR(BundleFileReader(*file, path, verification).read(base));
    return std::shared_ptr<const BundleFile>(std::move(file));
  } catch (const std::exception&) {
    return out_of_memory(path);
  }
}

}  // namespace pets::bundle
