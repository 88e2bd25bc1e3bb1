// encode allocates nothing: malloc and its relatives are interposed for the whole process.
#include <gtest/gtest.h>

#include <string>

#include "tests/testing_util/allocations.h"
#include "tests/tokenizer/bundled_tokenizer.h"

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
  testing_util::start_counting_allocations();
  const bool single = tokenizer.encode(text, 512).is_ok(), pair = tokenizer.encode_pair(text, text, 511).is_ok();
  const bool refused = !tokenizer.encode(invalid, 512).is_ok();
  const WordPieceTokenizer copy = *tokenizer.result;
  const int allocations = testing_util::stop_counting_allocations();
  EXPECT_TRUE(single && pair && refused && copy.scratch_bytes() > 0);
  EXPECT_EQ(allocations, 0);
}

}  // namespace
}  // namespace pets::tokenizer::testing
