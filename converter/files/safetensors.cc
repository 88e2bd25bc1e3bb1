#include "converter/files/safetensors.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "converter/files/float_types.h"
#include "converter/files/json_reader.h"
#include "converter/files/message_text.h"
#include "runtime/platform/check.h"
#include "runtime/platform/utf8.h"

namespace pets::converter {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files and this reader are little-endian");

/// The format's own limit for its header.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr uint64_t kLengthBytes = 8;
constexpr size_t kMaxDimensions = 16;

struct DtypeInfo {
  const char* name;
  SafeDtype dtype;
  uint32_t bits;
};
constexpr DtypeInfo kDtypes[] = {
    {"F64", SafeDtype::kF64, 64},      {"F32", SafeDtype::kF32, 32},      {"F16", SafeDtype::kF16, 16},
    {"BF16", SafeDtype::kBF16, 16},    {"I64", SafeDtype::kI64, 64},      {"I32", SafeDtype::kI32, 32},
    {"I16", SafeDtype::kI16, 16},      {"I8", SafeDtype::kI8, 8},         {"U8", SafeDtype::kU8, 8},
    {"BOOL", SafeDtype::kBool, 8},     {"U16", SafeDtype::kOther, 16},    {"U32", SafeDtype::kOther, 32},
    {"U64", SafeDtype::kOther, 64},    {"C64", SafeDtype::kOther, 64},    {"F8_E4M3", SafeDtype::kOther, 8},
    {"F8_E5M2", SafeDtype::kOther, 8}, {"F8_E8M0", SafeDtype::kOther, 8}, {"F6_E2M3", SafeDtype::kOther, 6},
    {"F6_E3M2", SafeDtype::kOther, 6}, {"F4", SafeDtype::kOther, 4},
};

using ull = unsigned long long;

Status damaged_tensor(const std::string& path, const std::string& name, const std::string& problem) {
  return Status::error(ErrorCode::kDamaged, "%s: tensor `%s`: %s", path.c_str(), utf8::printable(name).c_str(), problem.c_str());
}

Result<SafeTensor> read_entry(const std::string& name, const Json& entry, std::span<const std::byte> data, const std::string& path) {
  if (!entry.is_object()) return damaged_tensor(path, name, std::string("expected an object, found ") + entry.type_name());
  for (const auto& [key, value] : entry.items()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets")
      return damaged_tensor(path, name, "unknown key `" + utf8::printable(key) + "`");
  }
  SafeTensor tensor;
  tensor.name = name;
  const auto dtype = entry.find("dtype");
  if (dtype == entry.end() || !dtype->is_string()) return damaged_tensor(path, name, "`dtype` is missing or no string");
  tensor.dtype_name = dtype->get<std::string>();
  const auto* info =
      std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](const DtypeInfo& known) { return tensor.dtype_name == known.name; });
  if (info == std::end(kDtypes)) return damaged_tensor(path, name, "unknown dtype `" + utf8::printable(tensor.dtype_name) + "`");
  tensor.dtype = info->dtype;

  const auto shape = entry.find("shape");
  if (shape == entry.end() || !shape->is_array()) return damaged_tensor(path, name, "`shape` is missing or no array");
  if (shape->size() > kMaxDimensions) return damaged_tensor(path, name, std::to_string(shape->size()) + " dimensions, at most 16 are read");
  uint64_t elements = 1;
  for (const Json& dimension : *shape) {
    if (!dimension.is_number_unsigned()) return damaged_tensor(path, name, "a dimension is no non-negative integer");
    tensor.shape.push_back(dimension.get<uint64_t>());
    if (__builtin_mul_overflow(elements, tensor.shape.back(), &elements)) {
      return damaged_tensor(path, name, "shape " + shape_text(tensor.shape) + " overflows");
    }
  }
  uint64_t bits = 0;
  if (__builtin_mul_overflow(elements, uint64_t{info->bits}, &bits) || bits % 8 != 0) {
    return damaged_tensor(path, name, "shape " + shape_text(tensor.shape) + " of " + tensor.dtype_name + " is no whole number of bytes");
  }

  const auto offsets = entry.find("data_offsets");
  if (offsets == entry.end() || !offsets->is_array() || offsets->size() != 2 || !(*offsets)[0].is_number_unsigned() ||
      !(*offsets)[1].is_number_unsigned()) {
    return damaged_tensor(path, name, "`data_offsets` must be two non-negative integers");
  }
  const auto begin = (*offsets)[0].get<uint64_t>();
  const auto end = (*offsets)[1].get<uint64_t>();
  if (begin > end || end > data.size()) {
    return damaged_tensor(
        path, name,
        "data offsets " + shape_text({begin, end}) + " lie outside the " + std::to_string(data.size()) + " data bytes of the file");
  }
  if (end - begin != bits / 8) {
    return damaged_tensor(path, name,
                          "shape " + shape_text(tensor.shape) + " of " + tensor.dtype_name + " needs " + std::to_string(bits / 8) +
                              " bytes, the data offsets hold " + std::to_string(end - begin));
  }
  tensor.bytes = data.subspan(begin, end - begin);
  return tensor;
}

/// Every data byte belongs to exactly one tensor.
Status check_coverage(const std::vector<SafeTensor>& tensors, std::span<const std::byte> data, const std::string& path) {
  std::vector<const SafeTensor*> by_offset;
  for (const SafeTensor& tensor : tensors) {
    if (!tensor.bytes.empty()) by_offset.push_back(&tensor);
  }
  std::sort(by_offset.begin(), by_offset.end(), [](const SafeTensor* a, const SafeTensor* b) { return a->bytes.data() < b->bytes.data(); });
  size_t covered = 0;
  for (const SafeTensor* tensor : by_offset) {
    const auto begin = static_cast<size_t>(tensor->bytes.data() - data.data());
    if (begin < covered) return damaged_tensor(path, tensor->name, "its data overlap another tensor's");
    if (begin > covered) {
      return damaged_tensor(path, tensor->name, std::to_string(begin - covered) + " bytes before its data belong to no tensor");
    }
    covered = begin + tensor->bytes.size();
  }
  if (covered != data.size()) {
    return Status::error(ErrorCode::kDamaged, "%s: the last %zu bytes belong to no tensor", path.c_str(), data.size() - covered);
  }
  return Status::ok();
}

Status read_metadata(const Json& entry, const std::string& path, std::map<std::string, std::string>& metadata) {
  if (!entry.is_object()) return Status::error(ErrorCode::kDamaged, "%s: `__metadata__` is no object", path.c_str());
  for (const auto& [key, value] : entry.items()) {
    if (!value.is_string()) {
      return Status::error(ErrorCode::kDamaged, "%s: `__metadata__` key `%s` holds %s, expected a string", path.c_str(),
                           utf8::printable(key).c_str(), value.type_name());
    }
    metadata[key] = value.get<std::string>();
  }
  return Status::ok();
}

template <typename T>
T load(const SafeTensor& tensor, size_t index) {
  T value;  // data need not be aligned
  std::memcpy(&value, tensor.bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

}  // namespace

Result<SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  PETS_ASSIGN_OR_RETURN(platform::MappedFile mapped, platform::MappedFile::open(path.c_str()));
  PETS_ASSIGN_OR_RETURN(SafetensorsFile file, parse(mapped.bytes(), path));
  file.file_ = std::move(mapped);  // the mapping does not move: the tensors' spans stay valid
  return file;
}

Result<SafetensorsFile> SafetensorsFile::parse(std::span<const std::byte> bytes, const std::string& path) {
  if (bytes.size() < kLengthBytes) {
    return Status::error(ErrorCode::kDamaged, "%s: %zu bytes, a safetensors file has at least 8", path.c_str(), bytes.size());
  }
  uint64_t header_length = 0;
  std::memcpy(&header_length, bytes.data(), kLengthBytes);
  if (header_length > bytes.size() - kLengthBytes) {
    return Status::error(ErrorCode::kDamaged, "%s: header of %llu bytes in a file of %zu bytes (truncated, or no safetensors file)",
                         path.c_str(), static_cast<ull>(header_length), bytes.size());
  }
  if (header_length > kMaxHeaderBytes) {
    return Status::error(ErrorCode::kDamaged, "%s: header of %llu bytes, the format allows %llu", path.c_str(),
                         static_cast<ull>(header_length), static_cast<ull>(kMaxHeaderBytes));
  }
  const std::string_view header_text(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, header_length);
  if (header_text.empty() || header_text.front() != '{') {
    return Status::error(ErrorCode::kDamaged, "%s: the header does not start with `{` (no safetensors file)", path.c_str());
  }
  PETS_ASSIGN_OR_RETURN(const Json header, parse_json_object(header_text, path, {kMaxHeaderBytes, 1'000'000, 8}));

  SafetensorsFile file;
  file.path_ = path;
  const auto data = bytes.subspan(kLengthBytes + header_length);
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      PETS_RETURN_IF_ERROR(read_metadata(entry, path, file.metadata_));
      continue;
    }
    PETS_ASSIGN_OR_RETURN(SafeTensor tensor, read_entry(name, entry, data, path));
    file.tensors_.push_back(std::move(tensor));
  }
  std::sort(file.tensors_.begin(), file.tensors_.end(), [](const SafeTensor& a, const SafeTensor& b) { return a.name < b.name; });
  PETS_RETURN_IF_ERROR(check_coverage(file.tensors_, data, path));
  return file;
}

const SafeTensor* SafetensorsFile::find(const std::string& name) const {
  const auto found =
      std::lower_bound(tensors_.begin(), tensors_.end(), name, [](const SafeTensor& a, const std::string& b) { return a.name < b; });
  return found != tensors_.end() && found->name == name ? &*found : nullptr;
}

Result<std::vector<float>> to_floats(const SafetensorsFile& file, const SafeTensor& tensor) {
  std::vector<float> values;
  const size_t bytes = tensor.bytes.size();
  switch (tensor.dtype) {
    case SafeDtype::kF32:
      values.resize(bytes / 4);
      if (bytes > 0) std::memcpy(values.data(), tensor.bytes.data(), bytes);
      break;
    case SafeDtype::kF16:
      values.resize(bytes / 2);
      for (size_t i = 0; i < values.size(); ++i) values[i] = half_to_float(load<uint16_t>(tensor, i));
      break;
    case SafeDtype::kBF16:
      values.resize(bytes / 2);
      for (size_t i = 0; i < values.size(); ++i) values[i] = bfloat16_to_float(load<uint16_t>(tensor, i));
      break;
    case SafeDtype::kF64:
      values.resize(bytes / 8);
      for (size_t i = 0; i < values.size(); ++i) {
        const double value = load<double>(tensor, i);
        if (std::fabs(value) > static_cast<double>(std::numeric_limits<float>::max())) {
          return Status::error(ErrorCode::kInvalidArgument, "%s: tensor `%s`: value %g at index %zu does not fit in float32",
                               file.path().c_str(), utf8::printable(tensor.name).c_str(), value, i);
        }
        values[i] = static_cast<float>(value);
      }
      break;
    default:
      return Status::error(ErrorCode::kUnsupported, "%s: tensor `%s` is %s, expected F32, F16, BF16 or F64", file.path().c_str(),
                           utf8::printable(tensor.name).c_str(), tensor.dtype_name.c_str());
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      return Status::error(ErrorCode::kInvalidArgument, "%s: tensor `%s`: value at index %zu is %s, expected finite values",
                           file.path().c_str(), utf8::printable(tensor.name).c_str(), i, std::isnan(values[i]) ? "NaN" : "infinite");
    }
  }
  return values;
}

Result<std::vector<int64_t>> to_integers(const SafetensorsFile& file, const SafeTensor& tensor) {
  std::vector<int64_t> values;
  if (tensor.dtype == SafeDtype::kI32) {
    values.resize(tensor.bytes.size() / 4);
    for (size_t i = 0; i < values.size(); ++i) values[i] = load<int32_t>(tensor, i);
  } else if (tensor.dtype == SafeDtype::kI64) {
    values.resize(tensor.bytes.size() / 8);
    for (size_t i = 0; i < values.size(); ++i) values[i] = load<int64_t>(tensor, i);
  } else {
    return Status::error(ErrorCode::kUnsupported, "%s: tensor `%s` is %s, expected I32 or I64", file.path().c_str(),
                         utf8::printable(tensor.name).c_str(), tensor.dtype_name.c_str());
  }
  return values;
}

}  // namespace pets::converter
