// parse_line against nlohmann-json: they accept the same lines, and agree on what the lines say. Except for lone surrogates: JSON's
// grammar allows their escapes, nlohmann-json refuses them everywhere, parse_line where it decodes them (not in an `id`).
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/cli/json_writer.h"
#include "runtime/cli/query_line.h"

namespace {

using nlohmann::json;

void require(bool condition) {
  if (!condition) std::abort();
}

enum class Verdict { kValid, kInvalid, kUndecided };

/// Validity alone. A number beyond double is undecided: it is JSON, and nlohmann-json refuses it.
struct Validator final : json::json_sax_t {
  Verdict verdict = Verdict::kValid;
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return true; }
  bool key(string_t&) override { return true; }
  bool end_object() override { return true; }
  bool start_array(std::size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(std::size_t, const std::string&, const json::exception& error) override {
    verdict = error.id == 406 ? Verdict::kUndecided : Verdict::kInvalid;
    return false;
  }
};

Verdict judge(std::string_view text) {
  Validator validator;
  (void)json::sax_parse(text.begin(), text.end(), &validator);
  return validator.verdict;
}

/// The text with every escape of a surrogate replaced by one that all parsers take. As valid JSON as before, as JSON's grammar has it.
std::string without_surrogates(std::string_view text) {
  std::string result(text);
  for (std::size_t at = result.find("\\u"); at != std::string::npos && at + 3 < result.size(); at = result.find("\\u", at + 1)) {
    const bool surrogate = (result[at + 2] | 0x20) == 'd' && (result[at + 3] == '8' || result[at + 3] == '9' || result[at + 3] >= 'A');
    if (surrogate) result[at + 2] = '1';
  }
  return result;
}

void check_line(std::string_view text) {
  std::string bytes(text);
  std::vector<int32_t> ids;
  const pets::cli::QueryLine line = pets::cli::parse_line(bytes.data(), bytes.size(), ids);
  if (!line.id.empty()) require(judge(without_surrogates(line.id)) != Verdict::kInvalid);

  // Whatever was read prints as valid JSON.
  pets::cli::Output out;
  pets::cli::JsonLinesWriter(out, false).write_error(line, line.error.empty() ? line.text : std::string_view(line.error));
  require(judge(without_surrogates(out.buffered())) != Verdict::kInvalid);

  if (text.find('\0') != std::string_view::npos) {
    require(!line.error.empty());  // nlohmann-json takes a NUL for the end
    return;
  }
  const Verdict verdict = judge(text);
  if (verdict == Verdict::kUndecided) return;
  const bool says_invalid =
      line.error.starts_with("invalid JSON") || line.error.starts_with("invalid UTF-8") || line.error.starts_with("lone surrogate");
  if (verdict == Verdict::kInvalid) {
    const Verdict otherwise = judge(without_surrogates(text));
    if (otherwise == Verdict::kInvalid) require(!line.error.empty());
    if (otherwise == Verdict::kValid) require(!line.error.starts_with("invalid"));
    return;
  }
  require(!says_invalid);
  if (!line.error.empty()) return;
  const json value = json::parse(text);
  const auto same = [&value](const char* key, std::string_view read, bool present) {
    require(value.contains(key) == present);
    if (present) require(value[key].get_ref<const std::string&>() == read);
  };
  require(value.contains("tasks") == line.has_tasks && value.contains("task") == !line.has_tasks);
  if (line.has_tasks)
    require(value["tasks"].get<std::vector<std::string>>() == std::vector<std::string>(line.tasks.begin(), line.tasks.end()));
  same("task", line.task, !line.has_tasks);
  same("text", line.text, line.has_text);
  same("text_pair", line.text_pair, line.has_text_pair);
  require(value.contains("ids") == line.has_ids);
  if (line.has_ids) require(value["ids"].get<std::vector<int32_t>>() == ids);
  require(value.contains("id") != line.id.empty());
  if (!line.id.empty()) require(json::parse(line.id) == value["id"]);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (text.starts_with("\xEF\xBB\xBF")) return 0;  // the reader, not the parser, takes a byte order mark off the input
  check_line(text);
  return 0;
}
