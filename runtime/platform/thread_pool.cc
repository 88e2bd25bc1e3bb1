// ThreadPool over pthreadpool.
#include "pets/thread_pool.h"

#include <pthread.h>
#include <pthreadpool.h>

#include <atomic>
#include <new>

#include "runtime/platform/processors.h"

#if defined(__SANITIZE_THREAD__)
#define PETS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PETS_TSAN 1
#endif
#endif
// NOLINTBEGIN(readability-identifier-naming,bugprone-reserved-identifier): the sanitizer's names
#ifdef PETS_TSAN
// The packaged pthreadpool is not instrumented: tell ThreadSanitizer of the hand-over that its futexes and fences make.
extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);
#else
static void __tsan_acquire(void*) {}
static void __tsan_release(void*) {}
#endif
// NOLINTEND(readability-identifier-naming,bugprone-reserved-identifier)

namespace pets {
namespace {

class PthreadPool final : public ThreadPool {
 public:
  explicit PthreadPool(pthreadpool_t pool)
      : pool_(pool),
        threads_(static_cast<uint32_t>(pthreadpool_get_threads_count(pool))),
        // Workers that spin while they wait are the fastest where each has a processor, and the slowest where they do not.
        flags_(threads_ > usable_processors() ? PTHREADPOOL_FLAG_YIELD_WORKERS : 0) {}
  ~PthreadPool() override { pthreadpool_destroy(pool_); }
  PthreadPool(const PthreadPool&) = delete;
  PthreadPool& operator=(const PthreadPool&) = delete;

  uint32_t threads() const noexcept override { return threads_; }

  void run(void (*function)(void*, uint32_t), void* context, uint32_t count) noexcept override {
    if (count <= 1 || threads_ == 1) {
      for (uint32_t i = 0; i < count; ++i) function(context, i);
      return;
    }
    Job submitted{function, context};
    __tsan_release(&submitted);
    pthreadpool_parallelize_1d(
        pool_,
        [](void* argument, size_t index) {
          const Job* job = static_cast<Job*>(argument);
          __tsan_acquire(argument);
          job->function(job->context, static_cast<uint32_t>(index));
          __tsan_release(argument);
        },
        &submitted, count, flags_);
    __tsan_acquire(&submitted);
    awake_ = flags_ == 0;
  }

  /// pthreadpool's workers spin for a million pauses, some 20 ms, after a region, unless that region says that they should not.
  void rest() noexcept override {
    if (!awake_) return;
    awake_ = false;
    pthreadpool_parallelize_1d(
        pool_, [](void*, size_t) {}, nullptr, threads_, PTHREADPOOL_FLAG_YIELD_WORKERS);
  }

 private:
  struct Job {
    void (*function)(void*, uint32_t);
    void* context;
  };
  pthreadpool_t pool_;
  uint32_t threads_;
  uint32_t flags_;
  bool awake_ = false;  // of the thread that runs the pool
};

/// Starts `count` threads at once and ends them: pthreadpool itself waits for ever for one that the system refused to start (a limit on
/// processes, no room for its stack). Some 20 microseconds a thread.
bool can_start(uint32_t count) {
  const std::unique_ptr<pthread_t[]> threads(new (std::nothrow) pthread_t[count]);
  if (threads == nullptr) return false;
  std::atomic<bool> ended{false};
  uint32_t started = 0;
  const auto wait = [](void* flag) -> void* {
    static_cast<std::atomic<bool>*>(flag)->wait(false);
    return nullptr;
  };
  while (started < count && ::pthread_create(&threads[started], nullptr, wait, &ended) == 0) ++started;
  ended = true;
  ended.notify_all();
  for (uint32_t i = 0; i < started; ++i) (void)::pthread_join(threads[i], nullptr);
  return started == count;
}

}  // namespace

Result<std::unique_ptr<ThreadPool>> ThreadPool::create(uint32_t threads) noexcept {
  constexpr uint32_t kMaxThreads = 1024;
  if (threads > kMaxThreads) {
    return Status::error(ErrorCode::kInvalidArgument, "threads: expected at most %u, found %u", kMaxThreads, threads);
  }
  const uint32_t workers = threads != 0 ? threads : usable_processors();
  pthreadpool_t pool = can_start(workers - 1) ? pthreadpool_create(workers) : nullptr;
  if (pool == nullptr) return Status::error(ErrorCode::kResourceExhausted, "cannot start a pool of %u threads", workers);
  std::unique_ptr<ThreadPool> owner(new (std::nothrow) PthreadPool(pool));
  if (owner == nullptr) {
    pthreadpool_destroy(pool);
    return Status::error(ErrorCode::kResourceExhausted, "cannot allocate a thread pool");
  }
  return owner;
}

}  // namespace pets
