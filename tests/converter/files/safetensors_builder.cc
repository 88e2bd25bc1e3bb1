#include "tests/converter/files/safetensors_builder.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "tests/converter/temporary_directory.h"

#include "converter/files/float_types.h"
#include "converter/files/safetensors.h"

namespace pets::converter::testing {

std::string safetensors_text(std::string_view header, std::string_view data, uint64_t header_length) {
  std::string text(sizeof(header_length), '\0');
  std::memcpy(text.data(), &header_length, sizeof(header_length));
  return text.append(header).append(data);
}

std::string safetensors_text(std::string_view header, std::string_view data) { return safetensors_text(header, data, header.size()); }

std::span<const std::byte> as_bytes(const std::string& text) { return {reinterpret_cast<const std::byte*>(text.data()), text.size()}; }

std::string bytes_of(const std::vector<float>& values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

SafetensorsBuilder SafetensorsBuilder::from_file(const std::string& path) {
  const auto file = SafetensorsFile::open(path);
  if (!file) throw std::runtime_error(file.status().c_str());
  SafetensorsBuilder builder;
  builder.metadata_ = file->metadata();
  for (const SafeTensor& tensor : file->tensors()) {
    builder.set(tensor.name, tensor.dtype_name, tensor.shape, {reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()});
  }
  return builder;
}

void SafetensorsBuilder::set(const std::string& name, const std::string& dtype, const std::vector<uint64_t>& shape, std::string data) {
  entries_[name] = {dtype, shape, std::move(data)};
}

void SafetensorsBuilder::set_floats(const std::string& name, const std::vector<uint64_t>& shape, const std::vector<float>& values) {
  set(name, "F32", shape, bytes_of(values));
}

void SafetensorsBuilder::rename(const std::string& from, const std::string& to) {
  Entry entry = entries_.at(from);
  entries_.erase(from);
  entries_[to] = std::move(entry);
}

std::vector<std::string> SafetensorsBuilder::names() const {
  std::vector<std::string> result;
  for (const auto& [name, entry] : entries_) result.push_back(name);
  return result;
}

std::vector<float> SafetensorsBuilder::floats(const std::string& name) const {
  const std::string& data = entries_.at(name).data;
  std::vector<float> values(data.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), data.data(), data.size());
  return values;
}

void SafetensorsBuilder::convert_floats(const std::string& dtype) {
  for (auto& [name, entry] : entries_) {
    if (entry.dtype != "F32") continue;
    std::string data;
    for (const float value : floats(name)) {
      const uint16_t bits = dtype == "F16" ? float_to_half(value) : float_to_bfloat16(value);
      data.append(reinterpret_cast<const char*>(&bits), sizeof(bits));
    }
    entry.dtype = dtype;
    entry.data = std::move(data);
  }
}

std::string SafetensorsBuilder::text() const {
  nlohmann::json header = nlohmann::json::object();
  std::string data;
  if (!metadata_.empty()) header["__metadata__"] = metadata_;
  for (const auto& [name, entry] : entries_) {
    header[name] = {{"dtype", entry.dtype}, {"shape", entry.shape}, {"data_offsets", {data.size(), data.size() + entry.data.size()}}};
    data += entry.data;
  }
  return safetensors_text(header.dump(), data);
}

void SafetensorsBuilder::write(const std::string& path) const { write_file(path, text()); }

}  // namespace pets::converter::testing
