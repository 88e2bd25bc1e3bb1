// The library's own pool has as many threads as this process has processors, not as the machine has.
#include "runtime/platform/processors.h"

#include <gtest/gtest.h>
#include <sched.h>

#include "pets/thread_pool.h"

namespace pets {
namespace {

/// Leaves the calling thread the first of its processors; gives it back all that it had.
class OneProcessor {
 public:
  OneProcessor() {
    EXPECT_EQ(::sched_getaffinity(0, sizeof before_, &before_), 0);
    cpu_set_t one;
    CPU_ZERO(&one);
    int first = 0;
    while (first < CPU_SETSIZE - 1 && !CPU_ISSET(first, &before_)) ++first;
    CPU_SET(first, &one);
    EXPECT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
  }
  ~OneProcessor() { EXPECT_EQ(::sched_setaffinity(0, sizeof before_, &before_), 0); }
  OneProcessor(const OneProcessor&) = delete;
  OneProcessor& operator=(const OneProcessor&) = delete;
  int before() const { return CPU_COUNT(&before_); }

 private:
  cpu_set_t before_;
};

TEST(UsableProcessors, AreThoseOfTheAffinityMask) {
  int all = 0;
  {
    const OneProcessor one;
    all = one.before();
    EXPECT_EQ(usable_processors(), 1U);
    auto pool = ThreadPool::create(0);
    ASSERT_TRUE(pool) << pool.status().c_str();
    EXPECT_EQ(pool.value()->threads(), 1U);
  }
  EXPECT_EQ(usable_processors(), static_cast<uint32_t>(all));
}

}  // namespace
}  // namespace pets
