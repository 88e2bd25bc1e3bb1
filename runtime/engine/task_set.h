// Tasks in service, and how sessions see them change: always one whole set, never half of one.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "pets/types.h"
#include "runtime/bundle/bundle_file.h"
#include "runtime/engine/weights.h"
#include "runtime/memory/arena.h"

namespace pets::engine {

/// Bytes that all loaded files hold together; outlives the model where an application keeps a TaskInfo.
struct MemoryCounters {
  std::atomic<uint64_t> mapped{0};
  std::atomic<uint64_t> tables{0};
};

/// A bundle file in use and the tables that were resolved from it. Goes when its last task goes.
struct LoadedFile {
  LoadedFile(std::shared_ptr<const bundle::BundleFile> bundle_file, memory::Block block, std::shared_ptr<MemoryCounters> memory)
      : bundle(std::move(bundle_file)), tables(std::move(block)), counters(std::move(memory)) {
    counters->mapped += bundle->bytes().size();
    counters->tables += tables.size();
  }
  ~LoadedFile() {
    counters->mapped -= bundle->bytes().size();
    counters->tables -= tables.size();
  }
  LoadedFile(const LoadedFile&) = delete;
  LoadedFile& operator=(const LoadedFile&) = delete;

  std::shared_ptr<const bundle::BundleFile> bundle;
  memory::Block tables;
  std::shared_ptr<MemoryCounters> counters;
};

/// One task in service. Immutable.
struct Task {
  Task() = default;
  ~Task();  // gives the pages of its segment back
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  const uint64_t id = next_id();  ///< no other task of this process has it, 0 is none's
  TaskInfo info;
  TaskWeights weights;
  TaskLimits limits;
  const schema::Task* source = nullptr;
  std::span<const std::byte> segment;
  std::shared_ptr<const LoadedFile> file;

 private:
  static uint64_t next_id();
};

/// An immutable set of tasks, counted by the sessions that run on it.
struct TaskSet {
  std::vector<std::shared_ptr<const Task>> tasks;
  std::unordered_map<std::string_view, uint32_t> by_name;  // views into the tasks' names
  mutable std::atomic<uint32_t> references{1};

  /// The task's index into `tasks`.
  std::optional<uint32_t> find(std::string_view name) const {
    const auto found = by_name.find(name);
    return found == by_name.end() ? std::nullopt : std::optional(found->second);
  }
  void index();
  void release() const;
};

/// Sorts tasks as a batch does, in the order in which they were loaded, those with masks last: a key whose lower 32 bits are free. (Two
/// tasks with 2^31 others loaded between them would have one key; their rows would lie in turns, each still with its own task.)
inline uint64_t batch_order(const Task& task) { return (task.weights.masked ? uint64_t{1} << 63 : 0) | (task.id & 0x7FFFFFFF) << 32; }

/// The current set. Readers take it without a lock: a reader announces in its own slot which set it is about to count itself into (a
/// hazard pointer, Michael 2004); a writer that has replaced a set waits until no slot announces the old one, then drops it.
class TaskSetCell {
 public:
  /// A reader's slot. Registered while the reader lives.
  class Reader {
   public:
    explicit Reader(TaskSetCell& cell);
    ~Reader();
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;
    /// The current set, counted: the caller releases it. Lock-free.
    const TaskSet* acquire() noexcept;

   private:
    friend class TaskSetCell;
    TaskSetCell& cell_;
    std::atomic<const TaskSet*> announced_{nullptr};
  };

  TaskSetCell();
  ~TaskSetCell();
  TaskSetCell(const TaskSetCell&) = delete;
  TaskSetCell& operator=(const TaskSetCell&) = delete;

  /// Makes a set from the current one and puts it in its place; writers are serialized. `edit(const TaskSet&, TaskSet&)` returns a
  /// Status: an error leaves everything as it was.
  template <typename Edit>
  Status update(const Edit& edit) {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto next = std::make_unique<TaskSet>();
    if (Status status = edit(*current_.load(), *next); !status) return status;
    next->index();
    replace(next.release());
    return Status::ok();
  }

  /// Calls view(const TaskSet&) with the current set, kept from changing meanwhile.
  template <typename View>
  auto view(const View& view) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return view(*current_.load());
  }

 private:
  void replace(const TaskSet* next);

  mutable std::mutex mutex_;  // writers, views, and the list of readers; never taken by acquire()
  std::atomic<const TaskSet*> current_;
  std::vector<Reader*> readers_;
};

}  // namespace pets::engine
