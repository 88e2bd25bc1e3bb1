// peft's patterns: regular expressions of Python's `re`, matched against module names.
#include <regex>

#include "converter/peft/peft_config.h"
#include "runtime/platform/utf8.h"

namespace pets::converter {
namespace {

constexpr size_t kMaxPattern = 1024;

/// A pattern is hostile input like the rest of the file: libstdc++'s matcher without backtracking takes polynomial time.
constexpr std::regex::flag_type matching_flags() {
#ifdef __GLIBCXX__
  return std::regex::ECMAScript | std::regex_constants::__polynomial;
#else
  return std::regex::ECMAScript;
#endif
}

}  // namespace

Result<double> value_of_pattern(const PeftPatterns& patterns, const std::string& module, double fallback, const std::string& path) {
  for (const auto& [pattern, value] : patterns) {
    try {
      if (pattern.size() > kMaxPattern) throw std::regex_error(std::regex_constants::error_space);
      const std::regex expression("(.*\\.)?(" + pattern + ")", matching_flags());
      if (std::regex_match(module, expression)) return value;
    } catch (const std::regex_error&) {
      return Status::error(ErrorCode::kUnsupported,
                           "%s: pattern `%s` is no regular expression that this reader can match; write module names", path.c_str(),
                           utf8::printable(pattern).c_str());
    }
  }
  return fallback;
}

}  // namespace pets::converter
