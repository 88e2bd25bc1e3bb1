// What a latency table was measured on, and whether that is what is here.
#pragma once

#include <cstdint>
#include <string>

#include "pets/session.h"

namespace pets::serving {

/// Strings are printable UTF-8.
struct TableKey {
  std::string device;      ///< the CPU's model, or the CUDA device's name
  std::string isa;         ///< "avx2", ...: the instruction set in use
  std::string backend;     ///< "cpu", "cuda"
  std::string precision;   ///< "fp32", "fp16", "bf16", "int8": of the base's linears
  std::string power_mode;  ///< Jetson: the mode that nvpmodel has set; empty: unknown
  uint32_t threads = 0;    ///< workers of the session
  uint32_t hidden = 0, layers = 0, heads = 0, intermediate = 0, vocabulary = 0, positions = 0;  ///< of the encoder
  uint64_t clock_khz = 0;  ///< the highest that a processor may run at now; 0: unknown

  bool operator==(const TableKey&) const = default;
};

/// The key of what this session runs on, and on which machine. Reads files of /proc and /sys; what they do not say stays empty.
/// Thread-safe.
TableKey key_of(const Session::Impl& session);

/// kMismatch, in one line with the table's `path`, the field, what was expected (`here`) and what was found, where the table is of another
/// device, instruction set, backend, precision, number of threads or encoder. Power modes and clocks must be equal where both are known.
Status check_key(const TableKey& table, const TableKey& here, const char* path) noexcept;

}  // namespace pets::serving
