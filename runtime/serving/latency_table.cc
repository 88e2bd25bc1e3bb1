#include "runtime/serving/latency_table.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>

#include "runtime/platform/check.h"
#include "runtime/platform/file.h"
#include "runtime/platform/utf8.h"

namespace pets::serving {
namespace {

constexpr std::string_view kMagic = "pets-latency-table ";
constexpr std::string_view kVersion = "1";
constexpr size_t kMostStringBytes = 256;
constexpr uint32_t kMostRows = 1U << 22;  // SessionOptions::max_batch_tokens
constexpr uint32_t kMostSize = 1U << 24;  // of an encoder's dimension
constexpr double kLeastSeconds = 1e-12, kMostSeconds = 1e6, kMostWork = 1e15;

struct StringField {
  const char* name;
  std::string TableKey::*value;
  bool may_be_empty;
};
constexpr StringField kStrings[] = {{"device", &TableKey::device, false},
                                    {"isa", &TableKey::isa, false},
                                    {"backend", &TableKey::backend, false},
                                    {"precision", &TableKey::precision, false},
                                    {"power_mode", &TableKey::power_mode, true}};
struct NumberField {
  const char* name;
  uint32_t TableKey::*value;
  uint32_t most;
};
constexpr NumberField kNumbers[] = {{"threads", &TableKey::threads, 1024},
                                    {"hidden", &TableKey::hidden, kMostSize},
                                    {"layers", &TableKey::layers, kMostSize},
                                    {"heads", &TableKey::heads, kMostSize},
                                    {"intermediate", &TableKey::intermediate, kMostSize},
                                    {"vocabulary", &TableKey::vocabulary, kMostSize},
                                    {"positions", &TableKey::positions, kMostSize}};
constexpr const char* kClock = "clock_khz";
constexpr size_t kFields = std::size(kStrings) + std::size(kNumbers) + 1;

/// The next word of a line; what is left begins behind one space.
std::string_view next_word(std::string_view& rest) {
  const size_t space = rest.find(' ');
  const std::string_view word = rest.substr(0, space);
  rest = space == std::string_view::npos ? std::string_view() : rest.substr(space + 1);
  return word;
}

/// Reads a whole word as a number.
template <typename T>
bool read_number(std::string_view word, T& value) {
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  return error == std::errc() && end == word.data() + word.size();
}

class Parser {
 public:
  Parser(std::string_view text, const char* name) : text_(text), name_(name) {}

  Result<LatencyTable> run() {
    std::string_view line;
    if (!next_line(line) || line.substr(0, kMagic.size()) != kMagic) {
      return Status::error(ErrorCode::kDamaged, "%s: expected a latency table, whose first line is 'pets-latency-table 1'", name_);
    }
    if (const std::string_view version = line.substr(kMagic.size()); version != kVersion) {
      return Status::error(ErrorCode::kUnsupported, "%s: latency table version: expected 1, found '%s'", name_,
                           utf8::printable(version, 40).c_str());
    }
    bool ended = false;
    while (next_line(line)) {
      if (line.empty() || line[0] == '#') continue;
      if (ended) return error("after 'end'", "nothing", line);
      if (line == "end") {
        ended = true;
        continue;
      }
      PETS_RETURN_IF_ERROR(read_line(line));
    }
    if (!ended) return Status::error(ErrorCode::kDamaged, "%s: expected 'end' as the last line, found none: the file was cut off", name_);
    PETS_RETURN_IF_ERROR(check_whole());
    return std::move(table_);
  }

 private:
  /// False at the end. The last line needs no line break.
  bool next_line(std::string_view& line) {
    if (position_ >= text_.size()) return false;
    const size_t end = std::min(text_.find('\n', position_), text_.size());
    line = text_.substr(position_, end - position_);
    position_ = end + 1;
    ++number_;
    return true;
  }

  Status error(const char* what, const char* expected, std::string_view found) const {
    return Status::error(ErrorCode::kDamaged, "%s:%zu: %s: expected %s, found '%s'", name_, number_, what, expected,
                         utf8::printable(found, 60).c_str());
  }

  Status read_line(std::string_view line) {
    if (utf8::has_control_character(line)) return error("a line", "printable UTF-8", line);
    std::string_view rest = line;
    const std::string_view key = next_word(rest);
    if (key == "alpha") return read_alpha(rest);
    if (key == "beta") return read_beta(rest);
    for (size_t i = 0; i < std::size(kStrings); ++i) {
      if (key == kStrings[i].name) return read_string(kStrings[i], i, rest);
    }
    for (size_t i = 0; i < std::size(kNumbers); ++i) {
      if (key != kNumbers[i].name) continue;
      PETS_RETURN_IF_ERROR(once(std::size(kStrings) + i, kNumbers[i].name));
      return read_count(rest, kNumbers[i].name, kNumbers[i].most, table_.key.*kNumbers[i].value);
    }
    if (key == kClock) {
      PETS_RETURN_IF_ERROR(once(kFields - 1, kClock));
      uint64_t khz = 0;
      if (!read_number(rest, khz) || khz > UINT32_MAX) return error(kClock, "kHz, 0 to 4294967295", rest);
      table_.key.clock_khz = khz;
      return Status::ok();
    }
    return error("a key", "one of the table's", key);
  }

  Status once(size_t field, const char* name) {
    if (seen_[field]) return Status::error(ErrorCode::kDamaged, "%s:%zu: %s: expected once, found again", name_, number_, name);
    seen_[field] = true;
    return Status::ok();
  }

  Status read_string(const StringField& field, size_t index, std::string_view value) {
    PETS_RETURN_IF_ERROR(once(index, field.name));
    if (value.empty() && !field.may_be_empty) return error(field.name, "a value", value);
    if (value.size() > kMostStringBytes) return error(field.name, "at most 256 bytes", value);
    table_.key.*field.value = value;
    return Status::ok();
  }

  Status read_count(std::string_view word, const char* what, uint32_t most, uint32_t& value) const {
    if (read_number(word, value) && value >= 1 && value <= most) return Status::ok();
    return Status::error(ErrorCode::kDamaged, "%s:%zu: %s: expected 1 to %u, found '%s'", name_, number_, what, most,
                         utf8::printable(word, 60).c_str());
  }

  Status read_positive(std::string_view word, const char* what, double least, double most, double& value) const {
    if (read_number(word, value) && value >= least && value <= most) return Status::ok();  // no comparison is true of NaN
    return Status::error(ErrorCode::kDamaged, "%s:%zu: %s: expected %g to %g, found '%s'", name_, number_, what, least, most,
                         utf8::printable(word, 60).c_str());
  }

  Status read_alpha(std::string_view rest) {
    if (table_.alpha.size() == kMostTablePoints) return error("alpha", "at most 4096 points", "one more");
    AlphaPoint point;
    PETS_RETURN_IF_ERROR(read_count(next_word(rest), "alpha queries", kMostRows, point.queries));
    PETS_RETURN_IF_ERROR(read_count(next_word(rest), "alpha tokens", kMostRows, point.length));
    if (uint64_t{point.queries} * point.length > kMostRows) return error("alpha", "at most 4194304 rows", "more");
    PETS_RETURN_IF_ERROR(read_positive(rest, "alpha seconds", kLeastSeconds, kMostSeconds, point.seconds));
    table_.alpha.push_back(point);
    return Status::ok();
  }

  Status read_beta(std::string_view rest) {
    if (table_.beta.size() == kMostTablePoints) return error("beta", "at most 4096 points", "one more");
    BetaPoint point;
    const std::string_view name = next_word(rest);
    size_t family = 0;
    while (family < kOperatorFamilies && operator_family_name(static_cast<OperatorFamily>(family)) != name) ++family;
    if (family == kOperatorFamilies) return error("beta", "a family of operators (bias, norm, low_rank, ...)", name);
    point.family = static_cast<OperatorFamily>(family);
    PETS_RETURN_IF_ERROR(read_positive(next_word(rest), "beta work", 1, kMostWork, point.work));
    PETS_RETURN_IF_ERROR(read_count(next_word(rest), "beta rows", kMostRows, point.rows));
    PETS_RETURN_IF_ERROR(read_positive(rest, "beta seconds", kLeastSeconds, kMostSeconds, point.seconds));
    table_.beta.push_back(point);
    return Status::ok();
  }

  Status check_whole() const {
    const auto missing = [&](const char* key) {
      return Status::error(ErrorCode::kDamaged, "%s: %s: expected once, found nowhere", name_, key);
    };
    for (size_t i = 0; i < kFields; ++i) {
      if (seen_[i]) continue;
      if (i < std::size(kStrings)) return missing(kStrings[i].name);
      return missing(i - std::size(kStrings) < std::size(kNumbers) ? kNumbers[i - std::size(kStrings)].name : kClock);
    }
    const auto rows = [](const AlphaPoint& point) { return point.queries * point.length; };
    const auto& alpha = table_.alpha;
    if (std::none_of(alpha.begin(), alpha.end(), [&](const AlphaPoint& point) { return rows(point) != rows(alpha[0]); })) {
      return Status::error(ErrorCode::kDamaged, "%s: alpha: expected points with at least two numbers of rows, found %zu points of one",
                           name_, alpha.size());
    }
    return Status::ok();
  }

  std::string_view text_;
  const char* name_;
  size_t position_ = 0, number_ = 0;
  bool seen_[kFields] = {};
  LatencyTable table_;
};

/// The shortest text that reads back as the same number.
template <typename T>
void append_number(std::string& text, T value) {
  char digits[32];
  text.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

std::string table_text(const LatencyTable& table) {
  std::string text(kMagic);
  text.append(kVersion).append("\n# Measured by pets-bench profile; valid for what follows alone.\n");
  for (const StringField& field : kStrings) text.append(field.name).append(" ").append(table.key.*field.value).append("\n");
  for (const NumberField& field : kNumbers) {
    text.append(field.name).append(" ");
    append_number(text, table.key.*field.value);
    text.append("\n");
  }
  text.append(kClock).append(" ");
  append_number(text, table.key.clock_khz);
  text.append("\n# alpha: queries, tokens a query, seconds\n");
  for (const AlphaPoint& point : table.alpha) {
    text.append("alpha ");
    append_number(text, point.queries);
    text.append(" ");
    append_number(text, point.length);
    text.append(" ");
    append_number(text, point.seconds);
    text.append("\n");
  }
  text.append("# beta: family, work (see TaskWork), rows of one task, seconds that it adds\n");
  for (const BetaPoint& point : table.beta) {
    text.append("beta ").append(operator_family_name(point.family)).append(" ");
    append_number(text, point.work);
    text.append(" ");
    append_number(text, point.rows);
    text.append(" ");
    append_number(text, point.seconds);
    text.append("\n");
  }
  return text.append("end\n");
}

Status io_error(const char* path, const char* action, int code) {
  return Status::error(ErrorCode::kIo, "%s: cannot %s: %s", path, action, std::strerror(code));
}

Status write_text(const std::string& path, const std::string& text) {
  std::FILE* file = std::fopen(path.c_str(), "wbe");
  if (file == nullptr) return io_error(path.c_str(), "create", errno);
  const bool written =
      std::fwrite(text.data(), 1, text.size(), file) == text.size() && std::fflush(file) == 0 && ::fsync(::fileno(file)) == 0;
  const int code = errno;
  if (std::fclose(file) != 0 || !written) {
    const int close_code = written ? errno : code;
    std::remove(path.c_str());
    return io_error(path.c_str(), "write", close_code);
  }
  return Status::ok();
}

}  // namespace

Result<LatencyTable> parse_latency_table(std::string_view text, const char* name) noexcept {
  if (text.size() > kMostTableBytes) {
    return Status::error(ErrorCode::kDamaged, "%s: expected at most %zu bytes, found %zu", name, kMostTableBytes, text.size());
  }
  try {
    return Parser(text, name).run();
  } catch (const std::bad_alloc&) {
    return Status::error(ErrorCode::kResourceExhausted, "%s: out of memory", name);
  }
}

Result<LatencyTable> read_latency_table(const char* path) noexcept {
  PETS_ASSIGN_OR_RETURN(const uint64_t size, platform::file_size(path));
  if (size > kMostTableBytes) {
    return Status::error(ErrorCode::kDamaged, "%s: expected at most %zu bytes, found %" PRIu64, path, kMostTableBytes, size);
  }
  PETS_ASSIGN_OR_RETURN(const platform::MappedFile file, platform::MappedFile::open(path, true));
  return parse_latency_table({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}, path);
}

Status write_latency_table(const char* path, const LatencyTable& table) noexcept {
  try {
    const std::string text = table_text(table);
    // What is written can be read: the reader is the one place that knows what is valid.
    if (auto read = parse_latency_table(text, path); !read) {
      return Status::error(ErrorCode::kInvalidArgument, "not written: %s", read.status().c_str());
    } else if (!(read->key == table.key)) {
      return Status::error(ErrorCode::kInvalidArgument, "not written: %s: a value of the key holds a line break", path);
    }
    const std::string beside = std::string(path) + ".new";
    PETS_RETURN_IF_ERROR(write_text(beside, text));
    if (std::rename(beside.c_str(), path) != 0) {
      const int code = errno;
      std::remove(beside.c_str());
      return io_error(path, "rename into place", code);
    }
    return Status::ok();
  } catch (const std::bad_alloc&) {
    return Status::error(ErrorCode::kResourceExhausted, "%s: out of memory", path);
  }
}

}  // namespace pets::serving
