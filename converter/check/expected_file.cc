#include "converter/check/expected_file.h"

#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "converter/files/json_reader.h"
#include "runtime/platform/check.h"

namespace pets::converter {
namespace {

constexpr size_t kMaxLine = size_t{4} << 20;  // bytes, as for pets-run

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
  constexpr JsonLimits kLimits = {kMaxLine, 1'000'000, 1'000'000};  // an `id` may be anything
  PETS_ASSIGN_OR_RETURN(const Json object, parse_json_object(text, where, kLimits));
  return LineReader(object, where).read();
}

Status read_expected(const std::string& path, const std::function<Status(Result<ExpectedLine> line)>& on_line) {
  const auto unreadable = [&path] { return Status::error(ErrorCode::kIo, "%s: cannot read it: %s", path.c_str(), std::strerror(errno)); };
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return unreadable();
  std::vector<char> buffer(kMaxLine + 1);  // and a 0
  for (size_t number = 1; file.getline(buffer.data(), static_cast<std::streamsize>(buffer.size())) || file.gcount() > 0; ++number) {
    const std::string where = path + ":" + std::to_string(number);
    if (file.fail() && !file.eof() && !file.bad()) {
      PETS_RETURN_IF_ERROR(on_line(error(where, "longer than 4 MiB")));
      file.clear();
      file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
      continue;
    }
    const std::string_view text(buffer.data(), static_cast<size_t>(file.gcount()) - (file.eof() ? 0 : 1));
    if (is_blank(text)) continue;
    Result<ExpectedLine> line = parse_expected_line(text, where);
    if (line) line->number = number;
    PETS_RETURN_IF_ERROR(on_line(std::move(line)));
  }
  return file.bad() ? unreadable() : Status();
}

}  // namespace pets::converter
