// The table for people, and the options.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/cli/options.h"
#include "runtime/cli/table_writer.h"

namespace pets::cli {
namespace {

TEST(Table, WidthCountsTerminalColumns) {
  EXPECT_EQ(display_width("abc"), 3U);
  EXPECT_EQ(display_width("\xE6\x97\xA5\xE6\x9C\xAC"), 4U);  // two CJK characters
  EXPECT_EQ(display_width("e\xCC\x81"), 1U);                 // e and a combining accent
  EXPECT_EQ(display_width("\n"), 1U);
}

TEST(Table, FitsToTheWidth) {
  EXPECT_EQ(fit("abc", 5, true), "abc  ");
  EXPECT_EQ(fit("abc", 5, false), "abc");
  EXPECT_EQ(fit("abcdef", 6, true), "abcdef");
  EXPECT_EQ(fit("abcdefg", 6, true), "abcde\xE2\x80\xA6");
  EXPECT_EQ(fit("a\nb\tc", 6, false), "a b c");
  EXPECT_EQ(fit("\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E", 5, true), "\xE6\x97\xA5\xE6\x9C\xAC\xE2\x80\xA6");
  EXPECT_EQ(fit("\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E", 4, true), "\xE6\x97\xA5\xE2\x80\xA6 ");
  EXPECT_EQ(fit("abc", 0, true), "");
  EXPECT_EQ(fit("a\xE2\x80\xAE\x1B"
                "b",
                6, false),
            "a  b");  // neither turns the line round nor clears the screen
  EXPECT_EQ(fit("\xFF"
                "bc",
                3, true),
            " bc");
}

TEST(Table, FillsTheTerminalAndNoMore) {
  for (const std::size_t width : {48U, 60U, 80U, 200U}) {
    for (const std::size_t answer : {6U, 20U, 32U}) {
      const TableLayout layout = table_layout(width, 7, answer);
      EXPECT_EQ(layout.task + layout.text + layout.answer + layout.score + 6, width) << answer;
      EXPECT_GE(layout.text, 16U);
    }
  }
  EXPECT_EQ(table_layout(80, 7, 32).answer, 32U);
  EXPECT_EQ(table_layout(60, 7, 32).answer, 24U);
  EXPECT_EQ(table_layout(1, 7, 32).answer, 12U);
}

TEST(Table, AlignsRowsOfDifferentHeads) {
  TaskInfo sentiment;
  sentiment.name = "sentiment";
  sentiment.labels = {"negative", "positive"};
  TaskInfo rating;
  rating.name = "rating";
  rating.head = HeadType::kRegression;
  Output out;
  TableWriter writer(out, table_layout(60, 9, 8));
  QueryLine line;
  line.task = "sentiment";
  line.text = "A film that never knows what it wants to be, and is";
  const std::vector<float> logits = {1, 2};
  const std::vector<float> scores = {0.25F, 0.75F};
  Answer answer;
  answer.task = &sentiment;
  answer.logits = logits;
  answer.scores = scores;
  EXPECT_TRUE(writer.write(line, answer));
  line.task = "rating";
  line.text = "\xE6\x97\xA5\xE6\x9C\xAC";
  answer.task = &rating;
  answer.logits = std::span<const float>(logits).first(1);
  answer.scores = {};
  EXPECT_TRUE(writer.write(line, answer));
  writer.write_error(line, "no such task");
  EXPECT_EQ(out.buffered(),
            "task       text                            answer      score\n"
            "---------  ------------------------------  --------  -------\n"
            "sentiment  A film that never knows what \xE2\x80\xA6  positive    0.750\n"
            "rating     \xE6\x97\xA5\xE6\x9C\xAC                            1.000\n"
            "rating     \xE6\x97\xA5\xE6\x9C\xAC                            error: no such task\n");
}

TEST(Options, Sizes) {
  EXPECT_EQ(parse_size("17"), 17U);
  EXPECT_EQ(parse_size("2K"), 2048U);
  EXPECT_EQ(parse_size("3M"), 3U << 20);
  EXPECT_EQ(parse_size("4G"), uint64_t{4} << 30);
  for (const char* bad : {"", "K", "1T", "1KB", "-1", "1.5G", "18446744073709551616", "17179869184G"}) EXPECT_FALSE(parse_size(bad)) << bad;
}

std::optional<int> parse(std::vector<std::string> words, Options& options) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  return parse_options(static_cast<int>(argv.size()), argv.data(), options);
}

TEST(Options, ReadsTheCommandLine) {
  Options o;
  EXPECT_FALSE(parse({"pets-run", "a.pets", "b.pets", "c.pets", "--logits", "--threads", "2", "--memory-limit", "64M", "--max-batch-tokens",
                      "512", "--copy", "--input", "q.jsonl"},
                     o));
  EXPECT_EQ(o.bundle, "a.pets");
  EXPECT_EQ(o.deltas, (std::vector<std::string>{"b.pets", "c.pets"}));
  EXPECT_TRUE(o.logits && o.copy && o.has_input && !o.table);
  EXPECT_EQ(o.threads, 2U);
  EXPECT_EQ(o.memory_limit, uint64_t{64} << 20);
  EXPECT_EQ(o.max_batch_tokens, 512U);
}

TEST(Options, WrongUsageExitsWithTwo) {
  Options o;
  EXPECT_EQ(parse({"pets-run"}, o), 2);
  EXPECT_EQ(parse({"pets-run", "a", "--nope"}, o), 2);
  EXPECT_EQ(parse({"pets-run", "a", "--backend", "tpu"}, o), 2);
  EXPECT_EQ(parse({"pets-run", "a", "--threads", "0"}, o), 2);
  EXPECT_EQ(parse({"pets-run", "a", "--table", "--logits"}, o), 2);  // a table has no place for them
  EXPECT_EQ(parse({"pets-run", "a", "--memory-limit", "many"}, o), 2);
  EXPECT_EQ(parse({"pets-run", "--help"}, o), 0);
  EXPECT_EQ(parse({"pets-run", "--version"}, o), 0);
}

}  // namespace
}  // namespace pets::cli
