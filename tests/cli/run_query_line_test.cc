// parse_line: what one line of input may say, and what is refused with which words.
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "runtime/cli/query_line.h"

namespace pets::cli {
namespace {

/// A parsed line with the bytes that it points into.
struct Parsed {
  explicit Parsed(std::string_view text) : bytes(text), line(parse_line(bytes.data(), bytes.size(), ids)) {}
  std::string bytes;
  std::vector<int32_t> ids;
  QueryLine line;
};

TEST(QueryLine, ReadsEveryKey) {
  const Parsed p(R"( {"id": 7, "task" : "qa", "text":"who?", "text_pair":"me"} )");
  EXPECT_EQ(p.line.error, "");
  EXPECT_EQ(p.line.id, "7");
  EXPECT_EQ(p.line.task, "qa");
  EXPECT_EQ(p.line.text, "who?");
  EXPECT_EQ(p.line.text_pair, "me");
  const Query query = to_query(p.line, p.ids);
  EXPECT_TRUE(query.has_text_pair);
  EXPECT_FALSE(query.has_ids);
  EXPECT_EQ(query.text, "who?");
}

TEST(QueryLine, ReadsTokenIds) {
  const Parsed p(R"({"task":"t","ids":[101, -2 ,2147483647]})");
  EXPECT_EQ(p.line.error, "");
  EXPECT_TRUE(p.line.id.empty());
  const Query query = to_query(p.line, p.ids);
  EXPECT_TRUE(query.has_ids);
  EXPECT_EQ(std::vector<int32_t>(query.ids.begin(), query.ids.end()), (std::vector<int32_t>{101, -2, 2147483647}));
  EXPECT_EQ(Parsed(R"({"task":"t","ids":[]})").line.error, "");
}

TEST(QueryLine, KeepsTheIdAsItWasWritten) {
  for (const std::string_view id :
       {"1.0", "1e400", "-0", "\"\\u0041\\n\\ud83d\\ude00 \xC3\xA9\"", "\"\\udcff\\ud800\"", "{\"\\ud800\":0}", "null", "true",
        "[1, {\"a\" : [ ]},\"b\"]", "{\"x\":{\"y\":1},\"x\":2}", "123456789012345678901234567890", "\"\"", "[]", "{}"}) {
    const Parsed p("{\"text\":\"\\u0061\",\"id\": " + std::string(id) + " ,\"task\":\"t\"}");
    EXPECT_EQ(p.line.error, "") << id;
    EXPECT_EQ(p.line.id, id);
    EXPECT_EQ(p.line.text, "a");
  }
}

TEST(QueryLine, DeepNestingNeedsNoStack) {
  const std::size_t depth = 1'000'000;
  const std::string id = std::string(depth, '[') + std::string(depth, ']');
  const Parsed p("{\"id\":" + id + R"(,"task":"t","text":""})");
  EXPECT_EQ(p.line.error, "");
  EXPECT_EQ(p.line.id, id);
  const Parsed open("{\"id\":" + std::string(100'000, '['));
  EXPECT_NE(open.line.error.find("found the end of the line"), std::string::npos) << open.line.error;
}

TEST(QueryLine, DecodesEscapes) {
  const Parsed p(R"({"task":"t","text":"\"\\\/\b\f\n\r\t\u0000\u00e9\u20AC\ud83d\ude00."})");
  EXPECT_EQ(p.line.error, "");
  EXPECT_EQ(p.line.text, std::string_view("\"\\/\b\f\n\r\t\0\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80.", 19));
}

TEST(QueryLine, KeysMayBeEscaped) {
  const Parsed p(R"({"\u0074ask":"t","te\u0078t":"x"})");
  EXPECT_EQ(p.line.error, "");
  EXPECT_EQ(p.line.task, "t");
  EXPECT_EQ(Parsed(R"({"task":"t","text":"x","\u0069d":1,"id":2})").line.error, "duplicate key \"id\"");
}

struct Refusal {
  std::string line;
  std::string error;
};

TEST(QueryLine, RefusesWithTheReason) {
  const std::vector<Refusal> refusals = {
      {R"([1])", "a line must be an object, found an array"},
      {R"("x")", "a line must be an object, found a string"},
      {R"(null)", "a line must be an object, found null"},
      {R"({})", "\"task\" is missing"},
      {R"({"task":"t"})", "\"text\" (or \"ids\") is missing"},
      {R"({"text":"t"})", "\"task\" is missing"},
      {R"({"task":"t","text_pair":"x"})", "\"text\" (or \"ids\") is missing"},
      {R"({"task":"t","text":"x","ids":[1]})", "\"ids\" replace the texts: give one or the other"},
      {R"({"task":"t","text_pair":"x","ids":[1]})", "\"ids\" replace the texts: give one or the other"},
      {R"({"task":"t","text":"x","txt":1})", "unknown key \"txt\" (known: id, task, tasks, text, text_pair, ids)"},
      {R"({"task":"t","task":"u","text":"x"})", "duplicate key \"task\""},
      {R"({"task":1,"text":"x"})", "task must be a string, found a number"},
      {R"({"task":"t","text":null})", "text must be a string, found null"},
      {R"({"task":"t","text":"x","text_pair":["y"]})", "text_pair must be a string, found an array"},
      {R"({"task":"t","ids":"1"})", "ids must be an array, found a string"},
      {R"({"task":"t","ids":[1,"2"]})", "ids[1] must be an integer, found a string"},
      {R"({"task":"t","ids":[1.0]})", "ids[0] must be an integer of 32 bits, found 1.0"},
      {R"({"task":"t","ids":[2147483648]})", "ids[0] must be an integer of 32 bits, found 2147483648"},
      {R"({"task":"t","text":"x",})", "invalid JSON at byte 23: expected a string, found '}'"},
      {R"({"task":"t","text":"x"}})", "invalid JSON at byte 23: expected the end of the line, found '}'"},
      {R"({"task":"t" "text":"x"})", "invalid JSON at byte 12: expected ',' or '}', found '\"'"},
      {R"({"task":"t","text":"x)", "invalid JSON at byte 21: expected the closing quote of a string, found the end of the line"},
      {R"({"task":"t","text":"\x"})", "invalid JSON at byte 21: expected one of \"\\/bfnrtu after a backslash, found 'x'"},
      {R"({"task":"t","text":"\u12g4"})", "invalid JSON at byte 24: expected a hexadecimal digit, found 'g'"},
      {"{\"task\":\"t\",\"text\":\"a\tb\"}",
       "invalid JSON at byte 21: expected an escape in place of a control character, found byte 0x09"},
      {R"({"task":"t","text":"x","id":01})", "invalid JSON at byte 29: expected ',' or '}', found '1'"},
      {R"({"task":"t","text":"x","id":-})", "invalid JSON at byte 29: expected a digit, found '}'"},
      {R"({"task":"t","text":"x","id":1.})", "invalid JSON at byte 30: expected a digit, found '}'"},
      {R"({"task":"t","text":"x","id":1e+})", "invalid JSON at byte 31: expected a digit, found '}'"},
      {R"({"task":"t","text":"x","id":nul})", "invalid JSON at byte 28: expected a JSON value, found 'n'"},
      {R"({"task":"t","text":"x","id":NaN})", "invalid JSON at byte 28: expected a JSON value, found 'N'"},
      {R"({"task":"t","text":"x","id":[1}})", "invalid JSON at byte 30: expected ',' or ']', found '}'"},
      {R"({"task":"t","text":"x","id":{"a" 1}})", "invalid JSON at byte 33: expected ':', found '1'"},
      {R"({"task":"t","text":"x","id":{"a":1,}})", "invalid JSON at byte 35: expected a string, found '}'"},
      {R"({task:"t"})", "invalid JSON at byte 1: expected a string, found 't'"},
      {"{\"task\":\"t\",\"text\":\"ab\xFF\"}", "invalid UTF-8 in text at byte 2 (byte 22 of the line)"},
      {"{\"task\":\"t\",\"text\":\"\\u00e9\xED\xA0\x80\"}", "invalid UTF-8 in text at byte 2 (byte 26 of the line)"},
      {"{\"task\":\"t\",\"text\":\"x\",\"id\":\"\xC0\x80\"}", "invalid UTF-8 in id at byte 29 of the line"},
      {"{\"task\":\"t\",\"text\":\"x\",\"\xE9\":1}", "invalid UTF-8 in a key at byte 0 (byte 24 of the line)"},
      {R"({"task":"t","text":"\ud800"})", "lone surrogate \\ud800 in text at byte 20 of the line"},
      {R"({"task":"t","text":"\ud800\u0041"})", "lone surrogate \\ud800 in text at byte 20 of the line"},
      {R"({"task":"t","text":"\udc00"})", "lone surrogate \\udc00 in text at byte 20 of the line"},
      {"{\"task\":\"t\",\"text\":\"x\",\"id\":\xFF}", "invalid JSON at byte 28: expected a JSON value, found byte 0xff"},
  };
  for (const Refusal& refusal : refusals) EXPECT_EQ(Parsed(refusal.line).line.error, refusal.error) << refusal.line;
}

TEST(QueryLine, AnErrorKeepsTheIdWhereverItStands) {
  EXPECT_EQ(Parsed(R"({"id":"a","task":"t","text":)").line.id, "\"a\"");
  EXPECT_EQ(Parsed(R"({"txt":[1,{}],"task":3,"id":"a"})").line.id, "\"a\"");
  EXPECT_EQ(Parsed("{\"task\":\"t\",\"text\":\"\xFF\",\"id\":5}").line.id, "5");
  EXPECT_EQ(Parsed(R"({"task":"t","text":"\ud800","id":5})").line.id, "5");
  // The first of two ids, and none that would make the output invalid.
  EXPECT_EQ(Parsed(R"({"id":1,"id":2,"task":"t","text":"x"})").line.id, "1");
  EXPECT_EQ(Parsed("{\"txt\":1,\"id\":\"\xFF\",\"task\":\"t\",\"text\":\"\"}").line.id, "");
  for (const char* id : {"01", "1x", "nullx", "-01", "\"a\"b"}) {
    EXPECT_EQ(Parsed("{\"id\":" + std::string(id) + ",\"task\":\"t\",\"text\":\"\"}").line.id, "") << id;
  }
  EXPECT_EQ(Parsed(R"({"id":7 "task":"t","text":""})").line.id, "7");
}

TEST(QueryLine, TooManyIdsAreRefusedAndNotKept) {
  std::string text = R"({"task":"t","ids":[0)";
  for (std::size_t i = 1; i <= kMaxLineIds; ++i) text += ",1";
  const Parsed p(text + "]}");
  EXPECT_EQ(p.line.error, "ids holds 65537 values, at most 65536 are possible");
  EXPECT_TRUE(p.ids.empty());
}

TEST(QueryLine, LongUnknownKeysAreCutInTheMessage) {
  std::string key;
  for (int i = 0; i < 100; ++i) key += "\xC3\xA9";
  const Parsed p("{\"" + key + "\":1}");
  EXPECT_EQ(p.line.error, "unknown key \"" + key.substr(0, 64) + "...\" (known: id, task, tasks, text, text_pair, ids)");
}

TEST(QueryLine, BlankLines) {
  EXPECT_TRUE(is_blank(""));
  EXPECT_TRUE(is_blank(" \t\r"));
  EXPECT_FALSE(is_blank(" x"));
}

}  // namespace
}  // namespace pets::cli
