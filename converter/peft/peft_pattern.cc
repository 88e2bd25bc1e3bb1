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

/// A pattern of Python's `re` in the words of std::regex, which reads some of them as something else without a complaint. Nothing for those
/// that have no such words.
class Translation {
 public:
  explicit Translation(std::string_view pattern) : rest_(pattern) {}

  std::optional<std::string> run() {
    while (!rest_.empty()) {
      const char c = rest_.front();
      bool known = true;
      if (c == '\\') {
        known = escape(false);
      } else if (c == '[') {
        known = character_class();
      } else {
        known = c == '*' || c == '+' || c == '?' || c == '{' ? quantifier() : plain();
      }
      if (!known) return std::nullopt;
    }
    return std::move(out_);
  }

 private:
  void copy(size_t count) {
    out_.append(rest_.substr(0, count));
    rest_.remove_prefix(count);
  }

  bool plain() {
    if (rest_.starts_with("(?=") || rest_.starts_with("(?!")) {
      if (++look_aheads_ > kMaxLookAheads) return false;
      copy(3);
    } else if (rest_.starts_with("(?:")) {
      copy(3);
    } else if (rest_.starts_with("(?")) {
      return false;
    } else {
      copy(1);
    }
    return true;
  }

  bool escape(bool in_class) {
    if (rest_.size() < 2) return false;
    const char c = rest_[1];
    if (!in_class && (c == 'A' || c == 'Z')) {  // the start and the end of the text: a module's name has one line
      out_.push_back(c == 'A' ? '^' : '$');
      rest_.remove_prefix(2);
      return true;
    }
    const bool is_word = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
    if (is_word && std::string_view(in_class ? "dDsSwWnrtfvxu" : "dDsSwWbBnrtfvxu").find(c) == std::string_view::npos) return false;
    copy(2);
    return true;
  }

  bool character_class() {
    copy(rest_.starts_with("[^") ? 2 : 1);
    if (rest_.starts_with(']')) return false;  // a literal to Python, the end to std::regex
    while (!rest_.empty() && rest_.front() != ']') {
      if (rest_.starts_with("[:") || rest_.starts_with("[=") || rest_.starts_with("[.")) return false;  // [[:alpha:]] is C++ alone
      if (rest_.front() != '\\') {
        copy(1);
      } else if (!escape(true)) {
        return false;
      }
    }
    if (rest_.empty()) return false;
    copy(1);
    return true;
  }

  /// One quantifier, perhaps lazy. A second one is possessive to Python, or an error.
  bool quantifier() {
    const size_t close = rest_.front() == '{' ? rest_.find('}') : 0;
    if (close == std::string_view::npos) return false;
    copy(close + 1);
    if (rest_.starts_with('?')) copy(1);
    return rest_.empty() || std::string_view("*+?{").find(rest_.front()) == std::string_view::npos;
  }

  static constexpr int kMaxLookAheads = 3;  // each one inside another multiplies the time: 4 take 0.03 s a module, 6 minutes
  std::string_view rest_;
  std::string out_;
  int look_aheads_ = 0;
};

}  // namespace

std::optional<bool> matches_whole(const std::string& pattern, const std::string& text) {
  if (pattern.size() > kMaxPattern) return std::nullopt;
  const std::optional<std::string> translated = Translation(pattern).run();
  if (!translated) return std::nullopt;
  try {
    return std::regex_match(text, std::regex(*translated, matching_flags()));
  } catch (const std::regex_error&) {
    return std::nullopt;
  }
}

Result<double> value_of_pattern(const PeftPatterns& patterns, const std::string& module, double fallback, const std::string& path) {
  for (const auto& [pattern, value] : patterns) {
    // As peft does; where the pattern alone is none, as in `a)(b`, the two would not mean the same.
    const std::optional<bool> matches = matches_whole("(.*\\.)?(" + pattern + ")", module);
    if (!matches) {
      return Status::error(ErrorCode::kUnsupported,
                           "%s: pattern `%s` is no regular expression that this reader can match; write module names", path.c_str(),
                           utf8::printable(pattern).c_str());
    }
    if (*matches) return value;
  }
  return fallback;
}

}  // namespace pets::converter
