// When which queries arrive: made by a process, or read from a file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pets/status.h"

namespace pets::benchmarks {

struct Arrival {
  double seconds = 0;  ///< from the trace's beginning
  uint32_t task = 0;
  uint32_t tokens = 0;
  int32_t priority = 0;
  double deadline_seconds = 0;  ///< from the arrival; 0: none
};

struct Trace {
  std::vector<Arrival> arrivals;        ///< in order of time
  uint32_t tasks = 0;                   ///< Arrival::task is below
  std::vector<std::string> task_names;  ///< by number, where a file has names; else empty
  uint64_t tokens() const;
};

/// How arrivals follow one another.
enum class Process : uint8_t {
  kPoisson,  ///< independent: exponential gaps
  kBursty,   ///< a Poisson process whose rate a two-state Markov chain switches (MMPP-2)
  kUniform,  ///< equal gaps
  kAtOnce    ///< all at time 0
};

/// Of Process::kBursty. The long-run mean rate is TraceOptions::rate: on, the rate is `ratio` times that; off, what is left for it. Both
/// states last exponentially long; the first one is drawn by their shares. `ratio * on_share` is at most 1.
struct Bursts {
  double ratio = 2;
  double on_share = 0.25;  ///< of the time
  double on_seconds = 0.5;
};

/// Of a trace that is made, at most.
inline constexpr uint32_t kMostTraceQueries = 10'000'000;

struct TraceOptions {
  Process process = Process::kPoisson;
  double rate = 100;     ///< queries a second
  double seconds = 10;   ///< arrivals until then
  uint32_t queries = 0;  ///< instead of `seconds`, so many; 0: not used
  Bursts bursts;
  uint32_t tasks = 128;  ///< 1 to 10,000
  double zipf = 1;       ///< exponent of the tasks' popularity; which task is how popular is drawn by the seed
  double length = 32;    ///< tokens: N(length, sigma), rounded, cut to [min_length, max_length]
  double sigma = 8;
  uint32_t min_length = 4;
  uint32_t max_length = 512;
  double deadline_seconds = 0;  ///< of every query; 0: none
  uint64_t seed = 1;
};

/// The same bits for the same options on every platform. Tasks, lengths and times are drawn apart: other rates have the same queries.
Trace make_trace(const TraceOptions& options);

/// Reads JSON lines:
///
///     {"t": 0.25, "task": "sst2", "tokens": 17}
///     {"t": 0.31, "task": "cola", "tokens": 40, "priority": 2, "deadline_ms": 150}
///
/// t: seconds, 0 or more, not before the line above; task: a name, or a number below 10,000, the same kind on all lines (names are numbered
/// as they come); tokens: 1 to 65,536; priority and deadline_ms may be left out. Empty lines are skipped. Errors name `name` and the line.
Result<Trace> parse_trace(std::string_view text, const char* name);
Result<Trace> read_trace(const char* path);
/// The same as text, one line an arrival.
std::string trace_text(const Trace& trace);

}  // namespace pets::benchmarks
