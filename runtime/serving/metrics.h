// What a server counts: queries by task and outcome, how long they waited and took, and the batches they ran in.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>

#include "pets/metrics.h"
#include "pets/status.h"
#include "runtime/serving/batch_trace.h"
#include "runtime/serving/histogram.h"

namespace pets::serving {

/// What became of a query.
enum class Outcome : uint8_t {
  kAnswered,
  kFailed,          ///< answered with an error
  kCancelled,       ///< by whoever asked
  kDeadlineMissed,  ///< dropped for its deadline
  kRefused          ///< never accepted
};
inline constexpr uint32_t kOutcomes = 5;
/// "answered", "failed", "cancelled", "deadline_missed", "refused".
std::string_view outcome_name(Outcome outcome) noexcept;

/// The counters of one task, or of all tasks beyond the capacity. Written through Metrics; any thread may read.
class TaskMetrics {
 public:
  TaskMetrics() = default;
  TaskMetrics(const TaskMetrics&) = delete;
  TaskMetrics& operator=(const TaskMetrics&) = delete;

  std::string_view name() const noexcept { return {name_.data(), name_length_}; }
  uint64_t submitted() const noexcept { return submitted_.load(std::memory_order_relaxed); }
  uint64_t count(Outcome outcome) const noexcept;
  uint64_t tokens() const noexcept { return tokens_.load(std::memory_order_relaxed); }
  const Histogram& wait() const noexcept { return wait_; }        ///< of all but refused queries
  const Histogram& latency() const noexcept { return latency_; }  ///< of answered queries

 private:
  friend class Metrics;
  static constexpr size_t kMaxName = 256;  ///< bytes: bundle::kMaxNameBytes

  // Submitters and the thread that answers write cache lines of their own.
  alignas(64) std::atomic<uint64_t> submitted_{0};
  std::atomic<uint64_t> refused_{0};
  alignas(64) std::array<std::atomic<uint64_t>, kOutcomes - 1> ended_{};
  std::atomic<uint64_t> tokens_{0};
  Histogram wait_;
  Histogram latency_;
  uint32_t name_length_ = 0;
  std::array<char, kMaxName> name_{};
};

/// The counters of all batches.
struct BatchMetrics {
  SizeHistogram queries;
  SizeHistogram rows;
  SizeHistogram tasks;
  std::atomic<uint64_t> padded_rows{0};
  std::atomic<uint64_t> busy_ns{0};
  std::atomic<uint64_t> predicted_ns{0};
  std::atomic<uint64_t> pet_ns{0};  ///< the part of predicted_ns in operators of single tasks
};

/// Everything that a server counts, in one allocation. All members are thread-safe. The on_* members neither allocate nor lock and are a
/// few atomic additions each; they say what happened to one query or batch, and are called once for it.
class Metrics {
 public:
  static constexpr uint32_t kDefaultMaxTasks = 1024;
  static constexpr uint32_t kMostTasks = 1U << 16;

  /// Bytes that `create` allocates, exactly: 27 KiB a task. Those of a task are touched (and thus resident) from its first sight on.
  static uint64_t bytes_needed(uint32_t max_tasks) noexcept;
  /// `max_tasks`: that many are counted one by one, later ones as "other". Errors: more than kMostTasks, no memory.
  static Result<std::unique_ptr<Metrics>> create(uint32_t max_tasks = kDefaultMaxTasks) noexcept;
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  uint64_t bytes() const noexcept { return bytes_needed(max_tasks_); }

  /// The counters of a task, valid as long as this: keep the reference where that is easy. Known names are found without a lock; a new one
  /// takes a slot, under a lock, or shares `other()` where all are taken or the name is longer than a bundle allows (256 bytes). Slots are
  /// never given back: ask only for tasks that exist, and count queries for unknown ones in `other()`.
  TaskMetrics& task(std::string_view name) noexcept;
  /// Named "other"; a task of that name shares it.
  TaskMetrics& other() noexcept { return tasks_[max_tasks_]; }

  /// A query was accepted. Call it before the query can end, so that queries_in_flight is never short.
  void on_submit(TaskMetrics& task) noexcept { task.submitted_.fetch_add(1, std::memory_order_relaxed); }
  /// A query was not accepted; `on_submit` was not called for it.
  void on_refuse(TaskMetrics& task) noexcept { task.refused_.fetch_add(1, std::memory_order_relaxed); }
  /// An accepted query ended. `wait_ns`: from its submission until a batch took it, or it was dropped; `latency_ns`: to the answer,
  /// recorded of answered queries only; `tokens`: that were computed, 0 where it never ran. Outcome::kRefused counts as `on_refuse`.
  void on_answer(TaskMetrics& task, Outcome outcome, uint64_t wait_ns, uint64_t latency_ns, uint64_t tokens) noexcept;
  /// A batch ran. Its queue_length becomes the current one.
  void on_batch(const BatchRecord& record) noexcept;
  /// For a queue that grows while no batch ends: the current length, wherever it is at hand.
  void on_queue_length(uint32_t queries) noexcept { queue_length_.store(queries, std::memory_order_relaxed); }

  /// Allocates what it returns; takes about 35 us a task on a server's core: for a report, not for every query.
  MetricsSnapshot snapshot() const;

  // For reports.

  uint32_t tasks() const noexcept { return used_.load(std::memory_order_acquire); }
  /// By first sight; `index` < tasks().
  const TaskMetrics& task_at(uint32_t index) const noexcept { return tasks_[index]; }
  const TaskMetrics& other() const noexcept { return tasks_[max_tasks_]; }
  const BatchMetrics& batches() const noexcept { return batches_; }
  uint32_t queue_length() const noexcept { return queue_length_.load(std::memory_order_relaxed); }

 private:
  struct Layout;
  struct Memory {
    void operator()(std::byte* data) const noexcept;
  };
  using Block = std::unique_ptr<std::byte[], Memory>;

  Metrics(uint32_t max_tasks, Block block) noexcept;
  TaskMetrics* find(std::string_view name, size_t hash) noexcept;
  TaskMetrics& claim(std::string_view name, size_t hash) noexcept;

  uint32_t max_tasks_;
  Block block_;
  TaskMetrics* tasks_ = nullptr;  ///< [max_tasks + 1], the last one `other`; constructed when they are claimed
  /// Open addressing, linear probing: the index of a task's slot plus 1, or 0. Twice as many as tasks, so that a free one ends each search.
  std::atomic<uint32_t>* table_ = nullptr;
  size_t table_mask_ = 0;
  std::atomic<uint32_t> used_{0};  ///< slots claimed, `other` not counted
  std::mutex claiming_;

  alignas(64) BatchMetrics batches_;
  std::atomic<uint32_t> queue_length_{0};
};

/// Faults and resident memory of this process; 0 where the system does not tell.
struct ProcessUsage {
  uint64_t minor_page_faults = 0;
  uint64_t major_page_faults = 0;
  uint64_t resident_bytes = 0;
};
ProcessUsage process_usage() noexcept;

}  // namespace pets::serving
