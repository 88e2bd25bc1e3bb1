#include "converter/check/expected_file.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "converter/files/json_reader.h"
#include "runtime/platform/check.h"

namespace pets::converter {
namespace {

Status error(const std::string& where, const std::string& text) {
  return Status::error(ErrorCode::kInvalidArgument, "%s: %s", where.c_str(), text.c_str());
}

class LineReader {
 public:
  LineReader(const Json& object, const std::string& where) : object_(object), where_(where) {}

  Result<ExpectedLine> read() {
    for (const auto& [key, value] : object_.items()) {
      if (key != "id" && key != "task" && key != "text" && key != "text_pair" && key != "ids" && key != "logits") {
        return error(where_, "unknown key '" + key + "'; expected id, task, text, text_pair, ids or logits");
      }
    }
    bool has_text = false, has_task = false;
    PETS_RETURN_IF_ERROR(read_text("task", &line_.task, &has_task));
    PETS_RETURN_IF_ERROR(read_text("text", &line_.query.text, &has_text));
    PETS_RETURN_IF_ERROR(read_text("text_pair", &line_.query.text_pair, &line_.query.has_text_pair));
    if (!has_task) return error(where_, "'task' is missing");
    PETS_RETURN_IF_ERROR(read_ids());
    if (has_text == line_.has_ids || (line_.has_ids && line_.query.has_text_pair)) {
      return error(where_, "expected either 'text' (and 'text_pair') or 'ids'");
    }
    PETS_RETURN_IF_ERROR(read_logits());
    return std::move(line_);
  }

 private:
  Status read_text(const char* key, std::string* text, bool* found) {
    const auto value = object_.find(key);
    *found = value != object_.end();
    if (!*found) return {};
    if (!value->is_string()) return error(where_, std::string("'") + key + "' is no string");
    *text = value->get<std::string>();
    return {};
  }

  Status read_ids() {
    const auto ids = object_.find("ids");
    if (ids == object_.end()) return {};
    line_.has_ids = true;
    if (!ids->is_array()) return error(where_, "'ids' is no list");
    for (const Json& id : *ids) {
      if (!id.is_number_integer() || id < INT32_MIN || id > INT32_MAX)
        return error(where_, "'ids' holds something else than a 32-bit integer");
      line_.query.ids.push_back(id.get<int32_t>());
    }
    return {};
  }

  Status read_row(const Json& row, uint64_t* size) {
    *size = row.size();
    for (const Json& value : row) {
      if (!value.is_number() || !std::isfinite(value.get<double>()))
        return error(where_, "'logits' is no list of numbers, or of equally long lists");
      line_.logits.push_back(value.get<double>());
    }
    return {};
  }

  Status read_logits() {
    const auto logits = object_.find("logits");
    if (logits == object_.end() || !logits->is_array() || logits->empty()) return error(where_, "'logits' is missing, empty or no list");
    uint64_t size = 0;
    if (!logits->front().is_array()) {
      PETS_RETURN_IF_ERROR(read_row(*logits, &size));
      line_.shape = {size};
      return {};
    }
    for (const Json& row : *logits) {
      if (!row.is_array() || row.size() != logits->front().size()) {
        return error(where_, "'logits' is no list of numbers, or of equally long lists");
      }
      PETS_RETURN_IF_ERROR(read_row(row, &size));
    }
    line_.shape = {logits->size(), size};
    return {};
  }

  const Json& object_;
  const std::string& where_;
  ExpectedLine line_;
};

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r") == std::string_view::npos; }

}  // namespace

Result<ExpectedLine> parse_expected_line(std::string_view text, const std::string& where) {
  PETS_ASSIGN_OR_RETURN(const Json object, parse_json_object(text, where));
  return LineReader(object, where).read();
}

Status read_expected(const std::string& path, const std::function<Status(ExpectedLine line)>& on_line) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Status::error(ErrorCode::kIo, "%s: cannot read it", path.c_str());
  std::string text;
  for (size_t number = 1; std::getline(file, text); ++number) {
    if (is_blank(text)) continue;
    PETS_ASSIGN_OR_RETURN(ExpectedLine line, parse_expected_line(text, path + ":" + std::to_string(number)));
    line.number = number;
    PETS_RETURN_IF_ERROR(on_line(std::move(line)));
  }
  if (file.bad()) return Status::error(ErrorCode::kIo, "%s: cannot read it", path.c_str());
  return {};
}

}  // namespace pets::converter
