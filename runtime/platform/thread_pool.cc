// The library's own ThreadPool.
#include "pets/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <new>

#include "runtime/platform/processors.h"

namespace pets {
namespace {

using Clock = std::chrono::steady_clock;

/// How long a worker without work stays awake: longer than what lies between two regions of a batch.
constexpr std::chrono::microseconds kWorkerSpin{200};
/// And the caller that waits for a worker's last item: it has nothing else to do, and the item ends soon unless the worker lost its
/// processor.
constexpr std::chrono::microseconds kCallerSpin{2000};

void pause_processor() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");  // `yield` does nothing on most cores
#endif
}

/// Where each thread of a pool runs: its workers keep off the processor of the thread that calls.
///
/// A guest's kernel takes a virtual processor that sleeps for one that its host has taken away, and wakes a thread on the busy processor of
/// its caller instead, where it stays until the scheduler next balances its load: 4 to 15 ms (docs/decisions.md, section 27). Nothing
/// is done while the caller stays where it is, nor ever again once somebody else has changed the workers' processors.
class Placement {
 public:
  /// Of the thread that starts the workers, which inherit its processors.
  void start() { changes_ = ::sched_getaffinity(0, sizeof(allowed_), &allowed_) == 0; }

  /// Before the workers are woken, by the thread that calls.
  void keep_off_caller(const pthread_t* workers, uint32_t count) {
    const int processor = changes_ ? ::sched_getcpu() : avoided_;
    if (processor == avoided_ || processor < 0) return;
    cpu_set_t found, wanted = allowed_;
    if (avoided_ >= 0) CPU_CLR(avoided_, &wanted);
    changes_ = ::pthread_getaffinity_np(workers[0], sizeof(found), &found) == 0 && CPU_EQUAL(&found, &wanted) != 0;
    wanted = allowed_;
    CPU_CLR(processor, &wanted);
    for (uint32_t i = 0; i < count && changes_; ++i) {
      changes_ = ::pthread_setaffinity_np(workers[i], sizeof(wanted), &wanted) == 0;
    }
    avoided_ = processor;
  }

 private:
  cpu_set_t allowed_{};
  bool changes_ = false;
  int avoided_ = -1;
};

/// Workers that sleep when there is nothing to do, and regions that do not wait for those who still sleep.
///
/// A region is a number of tickets. The caller takes tickets, too, so that a region ends without the workers if they come too late; what
/// they took they finish first. `state_` holds a region's number, so that a ticket is never one of the region before: who gets one may
/// read the job, which stays as it is until all taken tickets are done.
class WorkerPool final : public ThreadPool {
 public:
  WorkerPool() = default;
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;
  ~WorkerPool() override {
    stop_ = true;
    ++epoch_;
    epoch_.notify_all();
    for (uint32_t i = 0; i < started_; ++i) (void)::pthread_join(threads_[i], nullptr);
  }

  /// False where the system refuses a thread (a limit on processes, no room for its stack).
  bool start(uint32_t workers) {
    threads_.reset(new (std::nothrow) pthread_t[workers]);
    if (threads_ == nullptr) return false;
    // Where threads share processors, one that spins takes the time that another needs.
    spins_ = workers + 1 <= usable_processors();
    if (spins_) placement_.start();
    const auto work = [](void* pool) -> void* {
      static_cast<WorkerPool*>(pool)->work();
      return nullptr;
    };
    while (started_ < workers && ::pthread_create(&threads_[started_], nullptr, work, this) == 0) ++started_;
    return started_ == workers;
  }

  uint32_t threads() const noexcept override { return started_ + 1; }

  void run(void (*function)(void*, uint32_t), void* context, uint32_t count) noexcept override {
    if (count <= 1 || started_ == 0) {
      for (uint32_t i = 0; i < count; ++i) function(context, i);
      return;
    }
    const std::lock_guard lock(one_region_);
    function_ = function;
    context_ = context;
    done_.store(0, std::memory_order_relaxed);
    state_.store(state_of(++region_, 0, count));
    // Whoever falls asleep after this sees the region's tickets first.
    if (sleepers_.load() != 0 && sleepers_.exchange(0) != 0) {
      placement_.keep_off_caller(threads_.get(), started_);
      ++epoch_;
      epoch_.notify_all();
    }
    while (take_ticket()) {
    }
    // Taken tickets alone are waited for.
    uint32_t done = 0;
    const auto all_done = [&] { return (done = done_.load()) == count; };
    if (spin_until(all_done, kCallerSpin)) return;
    caller_sleeps_ = true;
    while (!all_done()) done_.wait(done);
    caller_sleeps_ = false;
  }

 private:
  // A region's number, its next ticket, how many it has.
  static constexpr uint32_t kTicketBits = 16;
  static constexpr uint64_t kTickets = (uint64_t{1} << kTicketBits) - 1;
  static uint64_t state_of(uint32_t region, uint64_t next, uint64_t count) {
    return uint64_t{region} << (2 * kTicketBits) | next << kTicketBits | count;
  }
  static bool has_ticket(uint64_t state) { return (state >> kTicketBits & kTickets) < (state & kTickets); }

  /// Does what a ticket is for; false where there is none.
  bool take_ticket() {
    uint64_t state = state_.load();
    do {
      if (!has_ticket(state)) return false;
    } while (!state_.compare_exchange_weak(state, state + (uint64_t{1} << kTicketBits)));
    const uint64_t count = state & kTickets;
    function_(context_, static_cast<uint32_t>(state >> kTicketBits & kTickets));
    if (done_.fetch_add(1) + 1 == count && caller_sleeps_.load()) done_.notify_one();
    return true;
  }

  template <typename Condition>
  bool spin_until(const Condition& condition, std::chrono::microseconds most) const {
    constexpr int kAsksBetweenClocks = 64;
    if (condition()) return true;
    if (!spins_) return false;
    for (const Clock::time_point end = Clock::now() + most; Clock::now() < end;) {
      for (int i = 0; i < kAsksBetweenClocks; ++i) {
        pause_processor();
        if (condition()) return true;
      }
    }
    return false;
  }

  void work() {
    const auto wanted = [&] { return has_ticket(state_.load()) || stop_.load(); };
    while (!stop_) {
      if (take_ticket() || spin_until(wanted, kWorkerSpin)) continue;
      const uint32_t epoch = epoch_.load();
      ++sleepers_;
      if (!wanted()) epoch_.wait(epoch);
    }
  }

  std::unique_ptr<pthread_t[]> threads_;
  uint32_t started_ = 0;
  bool spins_ = false;
  Placement placement_;
  std::mutex one_region_;  // sessions may share a pool
  uint32_t region_ = 0;
  void (*function_)(void*, uint32_t) = nullptr;
  void* context_ = nullptr;
  // Each written by others than its neighbours are: lines of their own.
  alignas(64) std::atomic<uint64_t> state_{0};
  alignas(64) std::atomic<uint32_t> done_{0};  // tickets
  std::atomic<bool> caller_sleeps_{false};
  alignas(64) std::atomic<uint32_t> epoch_{0};  // sleeping workers wait for the next one
  std::atomic<uint32_t> sleepers_{0};           // at least those who sleep or are about to
  std::atomic<bool> stop_{false};
};

}  // namespace

Result<std::unique_ptr<ThreadPool>> ThreadPool::create(uint32_t threads) noexcept {
  constexpr uint32_t kMaxThreads = 1024;
  if (threads > kMaxThreads) {
    return Status::error(ErrorCode::kInvalidArgument, "threads: expected at most %u, found %u", kMaxThreads, threads);
  }
  const uint32_t workers = threads != 0 ? threads : usable_processors();
  std::unique_ptr<WorkerPool> pool(new (std::nothrow) WorkerPool);
  if (pool == nullptr) return Status::error(ErrorCode::kResourceExhausted, "cannot allocate a thread pool");
  if (!pool->start(workers - 1)) return Status::error(ErrorCode::kResourceExhausted, "cannot start a pool of %u threads", workers);
  return std::unique_ptr<ThreadPool>(std::move(pool));
}

}  // namespace pets
