// encode allocates nothing: malloc and its relatives are interposed for the whole process.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <string>

#include "tests/tokenizer/bundled_tokenizer.h"

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
void* aligned_alloc(size_t alignment, size_t size) {
  note();
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** out, size_t alignment, size_t size) {
  note();
  *out = __libc_memalign(alignment, size);
  return *out == nullptr ? ENOMEM : 0;
}
}

namespace pets::tokenizer::testing {
namespace {

TEST(Allocation, EncodeAllocatesNothing) {
  WordPieceTables tables = small_tables();
  tables.added_tokens.push_back({40, "\u00C4b", false, true});
  OwnedTokenizer tokenizer(prepared(tables));
  ASSERT_TRUE(tokenizer.result.is_ok());
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "Hello w\u00F6rld \u4E2D\u6587 a\u0301\u302E\U0001D165 \u0130 [MASK] \uD55C x\u00E4b!\x01";
  const std::string invalid = text + '\xFF';
  ASSERT_TRUE(tokenizer.encode(text, 512).is_ok());  // sizes the vector of tokens
  counting = true;
  const bool single = tokenizer.encode(text, 512).is_ok(), pair = tokenizer.encode_pair(text, text, 511).is_ok();
  const bool refused = !tokenizer.encode(invalid, 512).is_ok();
  const WordPieceTokenizer copy = *tokenizer.result;
  counting = false;
  EXPECT_TRUE(single && pair && refused && copy.scratch_bytes() > 0);
  EXPECT_EQ(allocations, 0);
}

}  // namespace
}  // namespace pets::tokenizer::testing
