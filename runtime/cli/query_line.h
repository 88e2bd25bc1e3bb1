// One line of input: {"id": any, "task": "name", "text": "...", "text_pair": "..."}; "ids": [ints] may replace the texts, and
// "tasks": ["name", ...] the task: a fan-out, one text for many tasks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pets/types.h"

namespace pets::cli {

/// Bytes of the longest line, its line break not counted.
inline constexpr std::size_t kMaxLineBytes = std::size_t{4} << 20;
/// Token ids that one line may hold: far above what an encoder can read, and it bounds the memory.
inline constexpr std::size_t kMaxLineIds = std::size_t{1} << 16;
/// Tasks of one fan-out: what pets-run's queue has places for.
inline constexpr std::size_t kMaxLineTasks = 1024;

/// What a line says. Views point into the line's own bytes.
struct QueryLine {
  std::string_view id;  ///< as it was written; empty where the line has none
  std::string_view task;
  std::string_view text;
  std::string_view text_pair;
  std::vector<std::string_view> tasks;  ///< of a fan-out, where has_tasks
  bool has_tasks = false;
  bool has_text = false;
  bool has_text_pair = false;
  bool has_ids = false;
  std::size_t ids_begin = 0;  ///< [ids_begin, ids_begin + ids_count) of the batch's ids
  std::size_t ids_count = 0;
  std::string error;  ///< why it cannot be run; empty where it can
};

/// Only white space: the line asks nothing.
bool is_blank(std::string_view line) noexcept;

/// Parses and checks `size` bytes at `line`, which change: strings are decoded in place. Token ids are appended to `ids`.
QueryLine parse_line(char* line, std::size_t size, std::vector<int32_t>& ids);

/// The query of a line without error; of a fan-out without its tasks. `ids` is what parse_line filled; it must not grow any more while the
/// query is used.
Query to_query(const QueryLine& line, const std::vector<int32_t>& ids) noexcept;

}  // namespace pets::cli
