// A strict JSON (RFC 8259) scanner over one line in memory. It exists because an `id` must come back exactly as it was written,
// which a parser that builds values cannot give: values are raw spans of the line, and strings are decoded in place.
//
// Two kinds of error: after a *syntax* error nothing more can be read (the functions return false from then on); a *content* error
// (invalid UTF-8, a lone surrogate in a string that is decoded, or one that the caller reports) is kept and the scan goes on, so that an
// `id` further on is still found. The first error of either kind is the one reported. No recursion: nesting costs one bit a level.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace pets::cli {

enum class JsonKind { kObject, kArray, kString, kNumber, kTrue, kFalse, kNull, kInvalid };

/// "an object", "a number", ... for messages.
std::string_view json_kind_name(JsonKind kind) noexcept;

class JsonScanner {
 public:
  /// Scans [begin, begin + size). Strings that are read are decoded into the place they came from (decoding never makes one longer).
  JsonScanner(char* begin, std::size_t size) noexcept : begin_(begin), at_(begin), end_(begin + size) {}

  /// The kind of the value that comes next, without consuming it.
  JsonKind peek() noexcept;
  /// Consumes `character` where it comes next.
  bool accept(char character) noexcept;
  /// The same, and a syntax error that names `what` where it does not.
  bool expect(char character, const char* what);
  /// True where the value just read ends: at a separator, white space or the end, not in the middle of something that is no JSON.
  bool at_boundary() const noexcept;
  /// Only white space is left; else a syntax error.
  bool expect_end();

  /// Reads a string. `name` is what messages call it. `value` points into the line.
  bool read_string(std::string_view name, std::string_view& value);
  /// Checks any value and gives its bytes as they were written; the line stays as it is.
  bool read_raw(std::string_view name, std::string_view& raw);
  /// Reads a number's bytes.
  bool read_number(std::string_view& raw);

  /// Reports that what the line holds is not what the caller wants.
  void content_error(std::string message);
  /// The bytes consumed so far.
  std::size_t offset() const noexcept { return static_cast<std::size_t>(at_ - begin_); }
  /// Errors of either kind so far.
  std::size_t errors() const noexcept { return errors_; }
  /// The first one; empty where there is none.
  const std::string& error() const noexcept { return error_; }

 private:
  void skip_space() noexcept;
  bool syntax_error(const char* expected);
  bool literal(std::string_view word);
  bool scan_string(std::string_view name, bool decode, std::string_view& value);
  bool scan_escape(std::string_view name, char*& out, bool decode);
  bool scan_hex(unsigned& unit);
  bool scan_scalar(std::string_view name);

  char* begin_;
  char* at_;
  char* end_;
  std::string error_;
  std::size_t errors_ = 0;
  bool stopped_ = false;
  std::vector<bool> open_objects_;  ///< one element a level of nesting: true for an object
};

}  // namespace pets::cli
