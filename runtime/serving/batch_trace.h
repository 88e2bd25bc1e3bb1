// The last batches that a server ran, kept for a timeline.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pets/status.h"

namespace pets::serving {

/// One batch. Times are nanoseconds of the steady clock.
struct BatchRecord {
  uint64_t start_ns = 0;
  uint64_t end_ns = 0;
  uint32_t queries = 0;
  uint32_t rows = 0;          ///< padding included
  uint32_t padded_rows = 0;   ///< the part of `rows` that is padding
  uint32_t tasks = 0;         ///< different ones
  uint32_t queue_length = 0;  ///< queries that were left waiting when the batch was taken
  double predicted_seconds = 0;
  double pet_seconds = 0;  ///< the part of predicted_seconds in operators of single tasks
};

/// A ring of the last records. One thread writes; any thread reads at any time, without holding the writer up.
class BatchTrace {
 public:
  static constexpr uint32_t kMaxCapacity = 1U << 20;
  static constexpr uint64_t kRecordBytes = 64;

  /// 64 bytes a record, allocated here and nowhere else; capacity 0: off, nothing is kept and nothing is allocated. Errors: a capacity over
  /// kMaxCapacity, no memory.
  static Result<BatchTrace> create(uint32_t capacity) noexcept;
  BatchTrace(BatchTrace&& other) noexcept;  ///< while no thread uses it

  uint32_t capacity() const noexcept { return capacity_; }
  uint64_t bytes() const noexcept { return capacity_ * kRecordBytes; }

  /// Overwrites the oldest record where the ring is full. Wait-free.
  void record(const BatchRecord& record) noexcept;

  /// The kept records, oldest first, each of them whole; those that are overwritten while this reads are left out.
  std::vector<BatchRecord> records() const;

 private:
  static constexpr size_t kWords = 7;  ///< of a record
  /// `version` is 2 n + 1 while record n is written and 2 n + 2 when it is whole.
  struct alignas(64) Entry {
    std::atomic<uint64_t> version{0};
    std::array<std::atomic<uint64_t>, kWords> words{};
  };
  static_assert(sizeof(Entry) == kRecordBytes);

  BatchTrace() = default;
  std::unique_ptr<Entry[]> entries_;
  uint32_t capacity_ = 0;
  std::atomic<uint64_t> written_{0};
};

/// The records (oldest first) in the Chrome trace event format, one JSON object, for chrome://tracing and ui.perfetto.dev: a complete event
/// a batch, a counter of the queue's length. Timestamps are microseconds from the start of the first.
/// https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
std::string chrome_trace(std::span<const BatchRecord> records);

}  // namespace pets::serving
