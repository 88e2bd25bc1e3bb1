// After load, running allocates nothing: malloc and mmap are interposed for the whole process, worker threads and tokenizer included.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "tests/testing_util/random_model.h"

#include "pets/pets.h"

namespace {
std::atomic<bool> counting{false};
std::atomic<int> allocations{0};

void note() {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1, std::memory_order_relaxed);
}
}  // namespace

extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* pointer, size_t size);
void* __libc_memalign(size_t alignment, size_t size);

void* malloc(size_t size) {
  note();
  return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
  note();
  return __libc_calloc(count, size);
}
void* realloc(void* pointer, size_t size) {
  note();
  return __libc_realloc(pointer, size);
}
void* memalign(size_t alignment, size_t size) {
  note();
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  note();
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** out, size_t alignment, size_t size) {
  note();
  *out = __libc_memalign(alignment, size);
  return *out == nullptr ? ENOMEM : 0;
}
void* mmap(void* address, size_t length, int protection, int flags, int file, off_t offset) {
  note();
  return reinterpret_cast<void*>(::syscall(SYS_mmap, address, length, protection, flags, file, offset));
}
}

namespace pets {
namespace {

using testing_util::kAllPetKinds;

TEST(Allocation, TheInterposedFunctionsAreTheOnesInUse) {
  counting = true;
  void* block = ::operator new(64);
  counting = false;
  ::operator delete(block);
  EXPECT_GE(allocations.exchange(0), 1);
}

TEST(Allocation, NothingIsAllocatedFromTheSecondBatchOn) {
  auto base = testing_util::random_base({}, 5);
  testing_util::add_tokenizer(base);
  std::vector<converter::PetTask> tasks;
  uint32_t head = 1;
  for (const auto kind : kAllPetKinds) {
    tasks.push_back(testing_util::random_task(base, kind, static_cast<converter::HeadType>(head), testing_util::pet_kind_name(kind), head));
    head = head % 6 + 1;
  }
  const testing_util::TemporaryFile file("allocation.pets");
  testing_util::write_random_bundle(file.path(), base, tasks);
  auto model = Model::load(file.c_str());
  ASSERT_TRUE(model) << model.status().c_str();
  SessionOptions options;
  options.threads = 3;
  options.max_batch_tokens = 200;
  auto session = Session::create(*model, options);
  ASSERT_TRUE(session) << session.status().c_str();

  const std::string long_text(5000, 'q');
  std::vector<Query> queries;
  for (const auto& task : tasks) {
    for (const std::string_view text : {std::string_view("the film was good"), std::string_view("na\xC3\xAFve \xE4\xB8\xAD\xE6\x96\x87!"),
                                        std::string_view(long_text), std::string_view(""), std::string_view("broken \xFF utf-8")}) {
      Query query;
      query.task = task.name;
      query.text = text;
      query.text_pair = "who was bad? nobody.";
      query.has_text_pair = true;
      queries.push_back(query);
    }
  }
  Query unknown;
  unknown.task = "no such task";
  queries.push_back(unknown);

  size_t answers = 0, failures = 0;
  const auto count = [&](size_t, const Answer& answer) { ++(answer.status ? answers : failures); };
  ASSERT_TRUE((*session)->run(queries, count));
  allocations = 0;
  counting = true;
  const Status second = (*session)->run(queries, count);
  counting = false;
  EXPECT_TRUE(second);
  EXPECT_EQ(allocations, 0);
  EXPECT_EQ(answers, 2 * 4 * tasks.size());
  EXPECT_EQ(failures, 2 * (tasks.size() + 1));
}

}  // namespace
}  // namespace pets
