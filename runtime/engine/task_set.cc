#include "runtime/engine/task_set.h"

#include <sys/mman.h>

#include <algorithm>
#include <thread>

namespace pets::engine {

Task::~Task() {
  // Segments are page-aligned and nobody else reads this one: the pages can go now, although the file stays mapped for other tasks.
  if (!segment.empty()) ::madvise(const_cast<std::byte*>(segment.data()), segment.size(), MADV_DONTNEED);
}

uint64_t Task::next_id() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

void TaskSet::index() {
  by_name.clear();
  by_name.reserve(tasks.size());
  for (uint32_t i = 0; i < tasks.size(); ++i) by_name.emplace(tasks[i]->info.name, i);
}

void TaskSet::release() const {
  if (references.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

TaskSetCell::Reader::Reader(TaskSetCell& cell) : cell_(cell) {
  const std::lock_guard<std::mutex> lock(cell_.mutex_);
  cell_.readers_.push_back(this);
}

TaskSetCell::Reader::~Reader() {
  const std::lock_guard<std::mutex> lock(cell_.mutex_);
  cell_.readers_.erase(std::find(cell_.readers_.begin(), cell_.readers_.end(), this));
}

const TaskSet* TaskSetCell::Reader::acquire() noexcept {
  // Sequentially consistent on both sides: either this announcement is seen by the writer's scan, or the writer's exchange is seen here.
  const TaskSet* set = cell_.current_.load();
  for (;;) {
    announced_.store(set);
    const TaskSet* again = cell_.current_.load();
    if (again == set) break;
    set = again;
  }
  set->references.fetch_add(1, std::memory_order_relaxed);
  announced_.store(nullptr, std::memory_order_release);
  return set;
}

TaskSetCell::TaskSetCell() : current_(new TaskSet()) {}

TaskSetCell::~TaskSetCell() { current_.load()->release(); }

void TaskSetCell::replace(const TaskSet* next) {
  const TaskSet* old = current_.exchange(next);
  for (const Reader* reader : readers_) {
    // A reader announces for a few instructions only.
    while (reader->announced_.load() == old) std::this_thread::yield();
  }
  old->release();
}

}  // namespace pets::engine
