// Work items over a pool: which worker takes which item is left open, so an item's result must not depend on it.
#pragma once

#include <atomic>
#include <cstdint>
#include <type_traits>

#include "pets/thread_pool.h"

namespace pets::engine {

/// Multiply-adds that are worth waking one more worker for: about 10 microseconds of one core, some times what a region's start and end
/// cost when processors are free. Where they are not, a worker that is waited for costs a scheduler's time slice.
inline constexpr uint64_t kWorkPerWorker = uint64_t{1} << 19;

/// Calls work(worker, item) once for every item in [0, items). `worker` is below pool.threads() and is not used by two calls at once:
/// it may index scratch. Items are taken in ascending order from one counter, so put long ones first. `cost`: multiply-adds of one
/// item, roughly; it limits the workers, never the result.
template <typename Work>
void parallel_items(ThreadPool& pool, uint32_t items, uint64_t cost, const Work& work) {
  const uint64_t useful = 1 + cost * items / kWorkPerWorker;
  uint32_t workers = pool.threads() < items ? pool.threads() : items;
  if (workers > useful) workers = static_cast<uint32_t>(useful);
  if (workers <= 1) {
    for (uint32_t item = 0; item < items; ++item) work(0, item);
    return;
  }
  struct Shared {
    std::atomic<uint32_t> next{0};
    uint32_t items;
    const Work* work;
  } shared;
  shared.items = items;
  shared.work = &work;
  pool.run(
      [](void* context, uint32_t worker) {
        auto* job = static_cast<Shared*>(context);
        for (uint32_t item; (item = job->next.fetch_add(1, std::memory_order_relaxed)) < job->items;) (*job->work)(worker, item);
      },
      &shared, workers);
}

}  // namespace pets::engine
