// A damaged or hostile bundle is refused with a message that names the table, and never read outside.
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "tests/tokenizer/bundled_tokenizer.h"

namespace pets::tokenizer::testing {
namespace {

using Change = std::function<void(BundledTokenizer&)>;

void expect_refused(const Change& change, const std::string& part_of_message) {
  BundledTokenizer bundled(prepared(small_tables()));
  change(bundled);
  const auto result = bundled.create();
  ASSERT_FALSE(result.is_ok()) << part_of_message;
  EXPECT_NE(std::string(result.status().message()).find(part_of_message), std::string::npos) << result.status().message();
}

TEST(Create, AcceptsWhatTheConverterWrites) {
  const auto result = BundledTokenizer(prepared(small_tables())).create();
  EXPECT_TRUE(result.is_ok()) << result.status().message();
}

TEST(Create, ChecksWhereTensorsLie) {
  expect_refused([](auto& b) { b.bytes.offset = b.segment.size() + 1; }, "vocabulary_bytes: outside the segment");
  expect_refused([](auto& b) { b.bytes.offset = UINT64_MAX - 1; }, "outside the segment");
  expect_refused([](auto& b) { b.bytes.length = UINT64_MAX - 1; }, "outside the segment");
  expect_refused([](auto& b) { b.offsets.length += 4; }, "vocabulary_offsets: length does not fit the shape");
  expect_refused([](auto& b) { b.offsets.shape = {1, 1}; }, "not one-dimensional");
  expect_refused([](auto& b) { b.slots.dtype = schema::DataType::kInt32; }, "vocabulary_slots: wrong dtype");
  expect_refused([](auto& b) { b.slots.layout = schema::Layout::kPanels16; }, "wrong layout");
  expect_refused([](auto& b) { b.slots.offset += 2; }, "misaligned");
}

TEST(Create, ChecksTheEntries) {
  expect_refused([](auto& b) { b.values(b.offsets)[0] = 1; }, "do not cover");
  expect_refused([](auto& b) { b.values(b.offsets)[5] = UINT32_MAX; }, "out of order");
  expect_refused([](auto& b) { b.values(b.offsets)[5] = 0; }, "out of order");
  expect_refused([](auto& b) { b.segment[b.bytes.offset] = std::byte{0xFF}; }, "entry 0 is not UTF-8");
  expect_refused([](auto& b) { b.segment[b.bytes.offset] = std::byte{'X'}; }, "entry 0 is not found");
  expect_refused([](auto& b) { b.vocabulary_rows = 5; }, "word embeddings have 5 rows");
  expect_refused([](auto& b) { b.offsets.length = b.offsets.shape[0] = 0; }, "vocabulary_offsets: 0 values");
}

TEST(Create, ChecksTheSlots) {
  const auto slots = [](auto& b) { return std::span(b.values(b.slots), b.slots.shape[0]); };
  expect_refused([&](auto& b) { std::fill(slots(b).begin(), slots(b).end(), 1); }, "none is empty");
  expect_refused([&](auto& b) { std::fill(slots(b).begin(), slots(b).end(), 0); }, "is not found");
  expect_refused([&](auto& b) { *std::find(slots(b).begin(), slots(b).end(), 0) = UINT32_MAX; }, "beyond the vocabulary");
  expect_refused([&](auto& b) { *std::find(slots(b).begin(), slots(b).end(), 0) = 3; }, "do not match");
  expect_refused([](auto& b) { b.slots.length -= 4, b.slots.shape[0] -= 1; }, "not a power of two");
  expect_refused([](auto& b) { b.slots.length = b.slots.shape[0] = 0; }, "not a power of two");
}

TEST(Create, RefusesSlotsThatMakeLookupsSlow) {
  // 5,000 entries in slots that are filled one after another: every lookup would walk through all of them.
  WordPieceTables tables = small_tables();
  for (int i = 0; i < 5000; ++i) tables.vocabulary.push_back("entry" + std::to_string(i));
  BundledTokenizer bundled(prepared(tables));
  uint32_t* slots = bundled.values(bundled.slots);
  const size_t count = bundled.slots.shape[0];
  std::fill(slots, slots + count, 0);
  for (uint32_t id = 0; id < 5000; ++id) slots[id] = id + 1;
  const auto result = bundled.create();
  ASSERT_FALSE(result.is_ok());
  EXPECT_NE(result.status().message().find("too many in a row"), std::string_view::npos) << result.status().message();
}

TEST(Create, ChecksIdsAndOptions) {
  expect_refused([](auto& b) { b.object.unknown_id = 1000; }, "unknown_id is 1000");
  expect_refused([](auto& b) { b.object.class_id = 1000; }, "class_id is 1000");
  expect_refused([](auto& b) { b.object.separator_id = UINT32_MAX; }, "separator_id");
  expect_refused([](auto& b) { b.object.max_characters_per_word = 1 << 30; }, "max_characters_per_word");
  expect_refused([](auto& b) { b.object.continuation_prefix = std::string(1000, '#'); }, "continuation_prefix");
  expect_refused([](auto& b) { b.object.continuation_prefix = std::string(1, '\xFF'); }, "continuation_prefix");
  expect_refused([](auto& b) { b.object.strip_accents = static_cast<schema::StripAccents>(9); }, "strip_accents");
}

TEST(Create, ChecksAddedTokens) {
  expect_refused([](auto& b) { b.added_tokens[0].id = 999; }, "added token 0: id 999");
  expect_refused([](auto& b) { b.added_tokens[1].content.clear(); }, "added token 1: no content");
  expect_refused([](auto& b) { b.added_tokens[1].content = std::string(1, '\xC3'); }, "not UTF-8");
  expect_refused([](auto& b) { std::swap(b.added_tokens[0], b.added_tokens[1]); }, "out of order");
  expect_refused([](auto& b) { b.added_tokens[1].content = b.added_tokens[0].content; }, "out of order");
  expect_refused([](auto& b) { b.added_tokens[0].normalized = true; }, "out of order");
  expect_refused([](auto& b) { b.added_tokens[0].content = std::string(2000, '!'); }, "too long");
}

}  // namespace
}  // namespace pets::tokenizer::testing
