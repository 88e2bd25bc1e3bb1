#include "runtime/bundle/validate_tensor.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>

#include "runtime/bundle/checksum.h"
#include "runtime/platform/check.h"
#include "schema/bundle_format.h"

namespace pets::bundle {
namespace {

using schema::DataType;
using schema::Layout;

constexpr TensorSpec::Form kPanels32 = {DataType::kFloat32, Layout::kPanels16}, kPanelsHalf = {DataType::kFloat16, Layout::kPanels16},
                           kPanelsBFloat = {DataType::kBFloat16, Layout::kPanels16By2},
                           kPanelsInt8 = {DataType::kInt8, Layout::kPanels16By4Bounded}, kPlain32 = {DataType::kFloat32, Layout::kPlain},
                           kPlainHalf = {DataType::kFloat16, Layout::kPlain}, kPlainBFloat = {DataType::kBFloat16, Layout::kPlain},
                           kPlainInt8 = {DataType::kInt8, Layout::kPlain};

uint64_t type_size(DataType type) noexcept {
  switch (type) {
    case DataType::kInt8:
    case DataType::kUInt8:
      return 1;
    case DataType::kFloat16:
    case DataType::kBFloat16:
    case DataType::kUInt16:
      return 2;
    case DataType::kFloat32:
    case DataType::kInt32:
    case DataType::kUInt32:
      return 4;
    case DataType::kUInt64:
      return 8;
    case DataType::kUnknown:
      break;
  }
  return 0;
}

std::string shape_text(const uint64_t* sizes, size_t count) {
  std::string text = "[";
  for (size_t i = 0; i < count; ++i) {
    if (i != 0) text += ", ";
    text += sizes[i] == kAnySize ? "any" : std::to_string(sizes[i]);
  }
  return text + "]";
}

/// Bytes of a tensor; false where they do not fit 64 bits.
bool tensor_bytes(DataType type, Layout layout, const flatbuffers::Vector<uint64_t>& shape, uint64_t* bytes) noexcept {
  if (layout == Layout::kBitPlanes16) {  // shape is [out, in]
    const uint64_t panels = shape.Get(0) / 16 + (shape.Get(0) % 16 != 0);
    const uint64_t words = shape.Get(1) / 32 + (shape.Get(1) % 32 != 0);
    return !__builtin_mul_overflow(panels, words, bytes) && !__builtin_mul_overflow(*bytes, uint64_t{16 * 4}, bytes);
  }
  *bytes = type_size(type);
  if (layout == Layout::kPanels16By2 || layout == Layout::kPanels16By4Bounded) {  // shape is [out, in], the inputs in whole groups
    const uint64_t group = layout == Layout::kPanels16By2 ? 2 : 4;
    const uint64_t groups = shape.Get(1) / group + (shape.Get(1) % group != 0);
    return !__builtin_mul_overflow(*bytes, group, bytes) && !__builtin_mul_overflow(*bytes, groups, bytes) &&
           !__builtin_mul_overflow(*bytes, shape.Get(0), bytes);
  }
  for (const uint64_t size : shape) {
    if (__builtin_mul_overflow(*bytes, size, bytes)) return false;
  }
  return true;
}

}  // namespace

std::string to_string(const TensorName& name) {
  if (name.site.kind == schema::SiteKind::kUnknown) return name.part;
  if (name.site.kind == schema::SiteKind::kHead) return "head:" + std::to_string(name.site.layer) + name.part;
  return schema::site_name(name.site) + name.part;
}

const char* type_name(DataType type) noexcept {
  constexpr const char* kNames[] = {"unknown", "float32", "float16", "bfloat16", "int8", "uint8", "uint16", "int32", "uint32", "uint64"};
  return type <= DataType::MAX ? kNames[static_cast<size_t>(type)] : "unknown";
}

const char* layout_name(Layout layout) noexcept {
  constexpr const char* kNames[] = {
      "unknown", "plain", "panels16", "bit planes 16", "panels16 by 2", "panels16 by 4", "panels16 by 4 bounded"};
  return layout <= Layout::MAX ? kNames[static_cast<size_t>(layout)] : "unknown";
}

Status SegmentChecker::error(ErrorCode code, const char* format, ...) const {
  char text[Status::kMaxMessage];
  va_list arguments;
  va_start(arguments, format);
  const int written = std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return Status::error(code, "%s: %s", subject_.c_str(), written < 0 ? "damaged" : text);
}

Status SegmentChecker::check(const schema::Tensor* tensor, const TensorName& name, const TensorSpec& spec) {
  if (tensor == nullptr || tensor->shape() == nullptr) {
    return error(ErrorCode::kDamaged, "tensor %s is missing", to_string(name).c_str());
  }
  // The FlatBuffers verifier checks the alignment of a vector's length, not of its elements.
  if (reinterpret_cast<uintptr_t>(tensor->shape()->Data()) % alignof(uint64_t) != 0) {
    return error(ErrorCode::kDamaged, "tensor %s: its shape is not aligned", to_string(name).c_str());
  }
  const DataType type = tensor->dtype();
  const Layout layout = tensor->layout();
  PETS_RETURN_IF_ERROR(check_form(type, layout, name, spec));
  const auto& shape = *tensor->shape();
  bool fits = shape.size() == spec.dimensions;
  for (uint32_t i = 0; fits && i < spec.dimensions; ++i) fits = spec.shape[i] == kAnySize || shape.Get(i) == spec.shape[i];
  if (!fits) {
    uint64_t found[4] = {};
    const size_t shown = std::min<size_t>(shape.size(), 4);
    for (size_t i = 0; i < shown; ++i) found[i] = shape.Get(static_cast<uint32_t>(i));
    return error(ErrorCode::kDamaged, "tensor %s: expected shape %s, found %s%s", to_string(name).c_str(),
                 shape_text(spec.shape.data(), spec.dimensions).c_str(), shape_text(found, shown).c_str(), shape.size() > 4 ? "..." : "");
  }
  uint64_t bytes = 0;
  if (!tensor_bytes(type, layout, shape, &bytes) || bytes != tensor->length()) {
    return error(ErrorCode::kDamaged, "tensor %s has %llu bytes, its shape and type need another number", to_string(name).c_str(),
                 static_cast<unsigned long long>(tensor->length()));
  }
  const uint64_t offset = tensor->offset(), size = segment_.size();
  const bool inside = offset % schema::kTensorAlignment == 0 && offset >= metadata_length_ && offset <= size && bytes <= size - offset &&
                      size - offset - bytes >= schema::kTensorSlack;
  if (!inside) {
    return error(ErrorCode::kDamaged, "tensor %s: bytes %llu + %llu do not lie inside the segment's %llu bytes as the format asks",
                 to_string(name).c_str(), static_cast<unsigned long long>(offset), static_cast<unsigned long long>(bytes),
                 static_cast<unsigned long long>(size));
  }
  seen_.push_back({tensor, name});
  return {};
}

Status SegmentChecker::check_form(DataType type, Layout layout, const TensorName& name, const TensorSpec& spec) const {
  bool known_type = false, known_layout = false;
  std::string types, layouts, layouts_of_type;
  const auto list = [](std::string& texts, const std::string& text) {  // once each
    if ((" or " + texts + " or ").find(" or " + text + " or ") == std::string::npos) texts += (texts.empty() ? "" : " or ") + text;
  };
  for (const TensorSpec::Form& known : spec.forms) {
    if (known.type == DataType::kUnknown) break;
    if (known.type == type && known.layout == layout) return {};
    known_type |= known.type == type;
    known_layout |= known.layout == layout;
    list(types, type_name(known.type));
    const std::string text = std::to_string(static_cast<unsigned>(known.layout)) + " (" + layout_name(known.layout) + ")";
    list(layouts, text);
    if (known.type == type) list(layouts_of_type, text);
  }
  if (!known_layout) {
    return error(ErrorCode::kUnsupported, "tensor %s has layout %u (%s), this build knows layout %s here", to_string(name).c_str(),
                 static_cast<unsigned>(layout), layout_name(layout), layouts.c_str());
  }
  if (!known_type) {
    return error(ErrorCode::kUnsupported, "tensor %s has data type %u (%s), this build knows %s here", to_string(name).c_str(),
                 static_cast<unsigned>(type), type_name(type), types.c_str());
  }
  return error(ErrorCode::kUnsupported, "tensor %s has layout %u (%s), this build knows layout %s for %s", to_string(name).c_str(),
               static_cast<unsigned>(layout), layout_name(layout), layouts_of_type.c_str(), type_name(type));
}

Status SegmentChecker::check_no_overlap() const {
  std::vector<Seen> sorted = seen_;
  const auto by_offset = [](const Seen& a, const Seen& b) { return a.tensor->offset() < b.tensor->offset(); };
  if (!std::is_sorted(sorted.begin(), sorted.end(), by_offset)) std::sort(sorted.begin(), sorted.end(), by_offset);
  for (size_t i = 1; i < sorted.size(); ++i) {
    const schema::Tensor& before = *sorted[i - 1].tensor;
    if (before.offset() + before.length() > sorted[i].tensor->offset()) {
      return error(ErrorCode::kDamaged, "tensors %s and %s overlap", to_string(sorted[i - 1].name).c_str(),
                   to_string(sorted[i].name).c_str());
    }
  }
  return {};
}

Status SegmentChecker::damage(const Status& structure) const {
  const bool apart = check_no_overlap().is_ok();  // else hostile tensors, hashed one by one, could cost any time
  for (const Seen& seen : seen_) {
    if (!apart) break;
    if (checksum(segment_.subspan(seen.tensor->offset(), seen.tensor->length())) != seen.tensor->checksum()) {
      return error(ErrorCode::kDamaged, "checksum does not match: tensor %s is damaged", to_string(seen.name).c_str());
    }
  }
  if (structure) return error(ErrorCode::kDamaged, "checksum does not match: its metadata or padding is damaged");
  return Status::error(ErrorCode::kDamaged, "%s (and its checksum does not match)", structure.c_str());
}

TensorSpec vector_spec(uint64_t size) { return index_spec(DataType::kFloat32, size); }
TensorSpec matrix_spec(uint64_t out, uint64_t in) { return {{kPanels32}, {out, in}, 2}; }
TensorSpec pooler_spec(uint64_t hidden, DataType plain) {
  if (plain != DataType::kUnknown) return {{{{plain, Layout::kPlain}}}, {hidden, hidden}, 2};
  return {{kPanels32, kPanelsHalf}, {hidden, hidden}, 2};
}
TensorSpec base_matrix_spec(uint64_t out, uint64_t in) {
  return {{kPanels32, kPanelsHalf, kPanelsBFloat, kPanelsInt8, kPlain32, kPlainHalf, kPlainBFloat, kPlainInt8}, {out, in}, 2};
}
TensorSpec table_spec(uint64_t rows, uint64_t columns) { return {{kPlain32}, {rows, columns}, 2}; }
TensorSpec base_table_spec(uint64_t rows, uint64_t columns) { return {{kPlain32, kPlainHalf, kPlainBFloat}, {rows, columns}, 2}; }
TensorSpec index_spec(DataType type, uint64_t n) { return {{{{type, Layout::kPlain}}}, {n, 0}, 1}; }
TensorSpec mask_spec(uint64_t out, uint64_t in) { return {{{{DataType::kUInt32, Layout::kBitPlanes16}}}, {out, in}, 2}; }

}  // namespace pets::bundle
