#include "converter/files/message_text.h"

#include <filesystem>
#include <system_error>

#include "runtime/platform/utf8.h"

namespace pets::converter {

std::string in_quotes(std::string_view text) { return "`" + utf8::printable(text) + "`"; }

std::string shape_text(const std::vector<uint64_t>& shape) {
  std::string result = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) result += ", ";
    if (i == 8) return result + "...]";
    result += std::to_string(shape[i]);
  }
  return result + "]";
}

std::string join_path(const std::string& directory, const std::string& name) {
  if (directory.empty() || directory.back() == '/') return directory + name;
  return directory + "/" + name;
}

bool is_file(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error);
}

}  // namespace pets::converter
