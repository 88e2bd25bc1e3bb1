#include "kernels/cuda/emulation/simt.h"

#include <algorithm>
#include <boost/context/fiber.hpp>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

namespace pets::kernels::cuda::emulation {
namespace {

namespace context = boost::context;

constexpr unsigned kWarp = 32;
constexpr size_t kStackBytes = size_t{64} << 10;

enum class State : uint8_t { kReady, kAtBarrier, kAtCollective, kEnded };

struct Thread {
  Place place;
  context::fiber fiber;   // this thread, while it waits
  context::fiber runner;  // the scheduler, while this thread runs
  State state = State::kReady;
  unsigned mask = 0;   // of the collective that it waits in
  uint64_t given = 0;  // to the collective
  uint64_t seen = 0;   // what all gave, as it was when the collective was complete
};

thread_local Thread* running = nullptr;

void wait(State state) {
  Thread* self = running;
  self->state = state;
  self->runner = std::move(self->runner).resume();
}

bool reversed_lanes() {
  const char* order = std::getenv("EMULATED_LANES");
  return order != nullptr && std::string_view(order) == "reversed";
}

/// A block's shared memory, filled with what reads as NaN.
class SharedMemory {
 public:
  explicit SharedMemory(size_t bytes) : data_(static_cast<std::byte*>(::operator new(bytes, kAlignment))) {
    std::memset(static_cast<void*>(data_), 0xFF, bytes);
  }
  ~SharedMemory() { ::operator delete(static_cast<void*>(data_), kAlignment); }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  std::byte* data() const { return data_; }

 private:
  static constexpr std::align_val_t kAlignment{128};
  std::byte* data_;
};

/// Memory for stacks that is taken once a grid.
class Stacks {
 public:
  explicit Stacks(size_t count) : memory_(std::make_unique_for_overwrite<std::byte[]>(count * kStackBytes)) {}
  context::preallocated of(size_t index) const {
    std::byte* bottom = memory_.get() + index * kStackBytes;
    context::stack_context stack;
    stack.size = kStackBytes;
    stack.sp = bottom + kStackBytes;
    return {stack.sp, kStackBytes, stack};
  }

 private:
  std::unique_ptr<std::byte[]> memory_;
};

struct NoRelease {  // the stacks are Stacks'
  context::stack_context allocate() { return {}; }
  void deallocate(context::stack_context&) {}
};

class Block {
 public:
  Block(dim3 grid, dim3 size, size_t shared_bytes, const std::function<void()>& body)
      : grid_(grid),
        size_(size),
        body_(body),
        stacks_(size_t{size.x} * size.y * size.z),
        threads_(size_t{size.x} * size.y * size.z),
        shared_bytes_(shared_bytes) {}

  void run(dim3 index) {
    // Exactly so many bytes, and fresh ones for every block: reads beyond the end, and of what no thread wrote, can be seen.
    const SharedMemory shared(shared_bytes_);
    error_ = nullptr;
    for (size_t i = 0; i < threads_.size(); ++i) {
      Thread& thread = threads_[i];
      const auto n = static_cast<unsigned>(i);
      thread = Thread();
      thread.place = {{n % size_.x, n / size_.x % size_.y, n / size_.x / size_.y}, index, size_, grid_, shared.data()};
      thread.fiber = context::fiber(std::allocator_arg, stacks_.of(i), NoRelease(), [this, &thread](context::fiber&& runner) {
        thread.runner = std::move(runner);
        try {
          body_();
        } catch (const context::detail::forced_unwind&) {
          throw;  // the grid is given up
        } catch (...) {
          error_ = std::current_exception();
        }
        thread.state = State::kEnded;
        return std::move(thread.runner);
      });
    }
    while (run_to_barrier()) release_barrier();
  }

 private:
  static void resume(Thread& thread) {
    Thread* outer = std::exchange(running, &thread);
    thread.fiber = std::move(thread.fiber).resume();
    running = outer;
  }

  /// Runs every warp until all of its threads have ended or wait at the barrier. False where all have ended.
  bool run_to_barrier() {
    for (size_t first = 0; first < threads_.size(); first += kWarp) {
      run_warp(first, std::min(first + kWarp, threads_.size()));
      if (error_ != nullptr) std::rethrow_exception(error_);
    }
    size_t ended = 0;
    for (const Thread& thread : threads_) ended += thread.state == State::kEnded ? 1 : 0;
    if (ended == threads_.size()) return false;
    if (ended != 0) throw std::logic_error("a barrier that some threads of the block never reach");
    return true;
  }

  void release_barrier() {
    for (Thread& thread : threads_) {
      if (thread.state == State::kAtBarrier) thread.state = State::kReady;
    }
  }

  void run_warp(size_t first, size_t end) {
    static const bool reversed = reversed_lanes();
    for (bool again = true; again;) {
      for (size_t i = 0; i < end - first; ++i) {
        Thread& thread = threads_[reversed ? end - 1 - i : first + i];
        if (thread.state == State::kReady) resume(thread);
      }
      again = complete_collectives(first, end);
    }
  }

  /// Lets go every collective that all living lanes of its mask wait in. True where a lane can run on.
  bool complete_collectives(size_t first, size_t end) {
    bool released = false, waiting = false;
    unsigned living = 0;
    for (size_t i = first; i < end; ++i) living |= unsigned{threads_[i].state != State::kEnded} << (i - first);
    for (size_t i = first; i < end; ++i) {
      if (threads_[i].state != State::kAtCollective) continue;
      waiting = true;
      const unsigned mask = threads_[i].mask;
      unsigned arrived = 0;
      for (size_t j = first; j < end; ++j) {
        arrived |= unsigned{threads_[j].state == State::kAtCollective && threads_[j].mask == mask} << (j - first);
      }
      if ((arrived & living & mask) != (living & mask)) continue;
      for (size_t j = first; j < end; ++j) {
        if ((arrived >> (j - first) & 1) != 0) threads_[j].seen = threads_[j].given;
      }
      for (size_t j = first; j < end; ++j) {
        if ((arrived >> (j - first) & 1) != 0) threads_[j].state = State::kReady;
      }
      released = true;
    }
    if (waiting && !released) throw std::logic_error("a warp's collective that not all lanes of its mask reach");
    return released;
  }

  friend uint64_t emulation::exchange(unsigned, uint64_t, unsigned);
  friend unsigned emulation::vote(unsigned, bool);

  dim3 grid_, size_;
  const std::function<void()>& body_;
  Stacks stacks_;  // outlives the threads, whose fibers are unwound where a grid is given up
  std::vector<Thread> threads_;
  size_t shared_bytes_;
  std::exception_ptr error_;
};

/// The first thread of the running thread's warp: threads of a block lie in one array.
Thread* warp_of_running() {
  const dim3 &at = running->place.thread, &size = running->place.block_size;
  return running - (at.x + size_t{size.x} * (at.y + size_t{size.y} * at.z)) % kWarp;
}
/// Of each kernel that asked, by its address. Threads launch at the same time.
struct AllowedSharedMemory {
  std::mutex mutex;
  std::map<const void*, size_t> bytes;
};
AllowedSharedMemory& allowed_shared_memory() {
  static AllowedSharedMemory allowed;
  return allowed;
}

unsigned lanes_of_running() {
  const dim3 &at = running->place.thread, &size = running->place.block_size;
  const size_t first = (at.x + size_t{size.x} * (at.y + size_t{size.y} * at.z)) / kWarp * kWarp;
  return static_cast<unsigned>(std::min<size_t>(kWarp, size_t{size.x} * size.y * size.z - first));
}

void collect(unsigned mask, uint64_t value) {
  running->mask = mask;
  running->given = value;
  wait(State::kAtCollective);
}

}  // namespace

const Place& place() { return running->place; }

void block_barrier() { wait(State::kAtBarrier); }

uint64_t exchange(unsigned mask, uint64_t value, unsigned source) {
  collect(mask, value);
  return source < lanes_of_running() ? warp_of_running()[source].seen : value;
}

unsigned vote(unsigned mask, bool value) {
  collect(mask, value ? 1 : 0);
  unsigned result = 0;
  for (unsigned i = 0; i < lanes_of_running(); ++i) {
    if ((mask >> i & 1) != 0) result |= static_cast<unsigned>(warp_of_running()[i].seen & 1) << i;
  }
  return result;
}

void show_all(const void* own, const void* (&all)[kWarp]) {
  collect(~0U, reinterpret_cast<uintptr_t>(own));
  if (lanes_of_running() != kWarp) throw std::logic_error("a product by a warp that is not whole");
  for (unsigned i = 0; i < kWarp; ++i) all[i] = reinterpret_cast<const void*>(warp_of_running()[i].seen);
}

void allow_shared_memory(const void* kernel, size_t bytes) {
  AllowedSharedMemory& allowed = allowed_shared_memory();
  const std::lock_guard lock(allowed.mutex);
  allowed.bytes[kernel] = bytes;
}

void expect_shared_memory_allowed(const void* kernel, size_t bytes) {
  constexpr size_t kUnasked = size_t{48} << 10;
  if (bytes <= kUnasked) return;
  AllowedSharedMemory& allowed = allowed_shared_memory();
  const std::lock_guard lock(allowed.mutex);
  const auto found = allowed.bytes.find(kernel);
  if (found == allowed.bytes.end() || found->second < bytes)
    throw std::logic_error("a launch with more shared memory than its kernel was allowed");
}

void run_grid(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body) {
  Block runner(grid, block, shared_bytes, body);
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) runner.run({x, y, z});
    }
  }
}

}  // namespace pets::kernels::cuda::emulation
