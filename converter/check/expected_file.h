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

/// Calls `on_line` for every line that is not blank; stops at the first error of its own or of `on_line`.
Status read_expected(const std::string& path, const std::function<Status(ExpectedLine line)>& on_line);

}  // namespace pets::converter
