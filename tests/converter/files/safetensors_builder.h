// Makes safetensors files for tests: right ones, and ones that lie.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pets::converter::testing {

/// A safetensors file from a header text and data bytes, whatever they say. `header_length` replaces the true length where given.
std::string safetensors_text(std::string_view header, std::string_view data);
std::string safetensors_text(std::string_view header, std::string_view data, uint64_t header_length);

std::span<const std::byte> as_bytes(const std::string& text);
std::string bytes_of(const std::vector<float>& values);

/// A well-formed file, tensor by tensor. Starts empty or from a file.
class SafetensorsBuilder {
 public:
  static SafetensorsBuilder from_file(const std::string& path);

  void set(const std::string& name, const std::string& dtype, const std::vector<uint64_t>& shape, std::string data);
  void set_floats(const std::string& name, const std::vector<uint64_t>& shape, const std::vector<float>& values);
  /// Starts as {"format": "pt"}, or as the file has it.
  void set_metadata(const std::string& key, const std::string& value) { metadata_[key] = value; }
  void erase_metadata(const std::string& key) { metadata_.erase(key); }
  std::string metadata(const std::string& key) const { return metadata_.at(key); }
  void rename(const std::string& from, const std::string& to);
  void erase(const std::string& name) { entries_.erase(name); }
  bool has(const std::string& name) const { return entries_.contains(name); }
  std::vector<std::string> names() const;
  std::vector<uint64_t> shape(const std::string& name) const { return entries_.at(name).shape; }
  /// Values of an F32 tensor.
  std::vector<float> floats(const std::string& name) const;
  /// Every F32 tensor as F16 or BF16, rounded.
  void convert_floats(const std::string& dtype);

  std::string text() const;
  void write(const std::string& path) const;

 private:
  struct Entry {
    std::string dtype;
    std::vector<uint64_t> shape;
    std::string data;
  };
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_ = {{"format", "pt"}};
};

}  // namespace pets::converter::testing
