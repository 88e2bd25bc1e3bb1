// Measured latencies of one device, precision and encoder, in a file: what the cost model is fitted to.
#pragma once

#include <string_view>
#include <vector>

#include "pets/status.h"
#include "runtime/serving/cost_model.h"
#include "runtime/serving/table_key.h"

namespace pets::serving {

struct LatencyTable {
  TableKey key;
  std::vector<AlphaPoint> alpha;
  std::vector<BetaPoint> beta;
};

/// The file, UTF-8, a line each:
///
///     pets-latency-table 1
///     # what begins so is a comment; an empty line is one too
///     device Intel(R) Xeon(R) Processor          every field of TableKey once, in any order: the value is all that follows one space
///     threads 2
///     alpha 4 32 0.0125                          queries, tokens a query, seconds
///     beta low_rank 73728 16 1.5e-05             family, work, rows, seconds
///     end                                        the last line: a file that was cut off has none
///
/// At most 1 MiB and 4,096 points of each kind; at least two alpha points with different numbers of rows. Numbers are the shortest that
/// read back as the same double.
inline constexpr size_t kMostTableBytes = size_t{1} << 20;
inline constexpr size_t kMostTablePoints = 4096;

/// Reads a table from text; `name` stands for the file in messages, which name the line. kUnsupported: another version; kDamaged: all else.
Result<LatencyTable> parse_latency_table(std::string_view text, const char* name) noexcept;
/// Reads and validates a file. kNotFound and kIo as the operating system says, else as parse_latency_table.
Result<LatencyTable> read_latency_table(const char* path) noexcept;
/// Writes beside `path` and renames it into place: a reader sees the old file or the whole new one. kInvalidArgument where the reader would
/// not take it: control characters in a string, numbers out of range.
Status write_latency_table(const char* path, const LatencyTable& table) noexcept;

}  // namespace pets::serving
