// EXPECTED.jsonl: input lines as pets-run takes them, each with the logits that another implementation gave.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "converter/bundle/bundle_writer.h"
#include "pets/status.h"

namespace pets::converter {

struct ExpectedLine {
  size_t number = 0;  ///< in the file, counted from 1
  std::string task;
  Golden query;  ///< `logits` stays empty
  bool has_ids = false;
  std::vector<double> logits;   ///< in order, whatever their nesting
  std::vector<uint64_t> shape;  ///< [n], or [rows, n]
};

/// One line. `where` ("file:line") starts the message of an error.
Result<ExpectedLine> parse_expected_line(std::string_view text, const std::string& where);

/// Calls `on_line` for every line that is not blank, with an error where it is malformed or over 4 MiB; stops where the file cannot be read
/// or `on_line` says so.
Status read_expected(const std::string& path, const std::function<Status(Result<ExpectedLine> line)>& on_line);

}  // namespace pets::converter
