#include "converter/files/json_reader.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/converter/result_matchers.h"
#include "tests/converter/temporary_directory.h"

namespace pets::converter {
namespace {

using testing::is_ok;
using testing::is_refused;

TEST(JsonReader, ReadsAnObjectAndKeepsTheOrderOfAConfigurationsKeys) {
  const auto config = parse_config_object(R"({"z":1,"a":{"y":2,"b":3}})", "c.json");
  ASSERT_TRUE(is_ok(config));
  EXPECT_EQ(config->begin().key(), "z");
  EXPECT_EQ((*config)["a"].begin().key(), "y");
}

TEST(JsonReader, RefusesMalformedTextNamingTheFileAndThePlace) {
  EXPECT_TRUE(is_refused(parse_json_object("{\"a\":1,\n  \"b\":}", "c.json"), "c.json", "malformed JSON", "line 2"));
  for (const char* text : {"", "{", "{\"a\":nan}", "{\"a\":1} x", "{'a':1}", "{\"a\":\"\xC3\x28\"}", "{\"a\":1,}", "{\"a\":1e999}"}) {
    EXPECT_TRUE(is_refused(parse_json_object(text, "c.json"), "c.json", "malformed JSON")) << text;
    EXPECT_TRUE(is_refused(parse_config_object(text, "c.json"), "c.json", "malformed JSON")) << text;
  }
  EXPECT_TRUE(is_refused(parse_json_object("[1]", "c.json"), "expected a JSON object", "array"));
}

TEST(JsonReader, RefusesDuplicateKeysAtAnyDepth) {
  EXPECT_TRUE(is_refused(parse_json_object(R"({"a":1,"b":2,"a":3})", "c.json"), "duplicate key `a`"));
  EXPECT_TRUE(is_refused(parse_config_object(R"({"x":[{"k":1,"k":1}]})", "c.json"), "duplicate key `k`"));
  EXPECT_TRUE(is_ok(parse_json_object(R"({"a":{"a":1},"b":{"a":1}})", "c.json")));
}

TEST(JsonReader, RefusesWhatExceedsItsLimits) {
  const JsonLimits limits{100, 3, 4};
  EXPECT_TRUE(is_refused(parse_json_object(std::string(101, ' '), "c.json", limits), "101 bytes", "at most 100"));
  EXPECT_TRUE(is_refused(parse_json_object(R"({"a":1,"b":1,"c":1,"d":1})", "c.json", limits), "more than 3 keys"));
  EXPECT_TRUE(is_refused(parse_json_object(R"({"a":[[[[[1]]]]]})", "c.json", limits), "nested deeper than 4"));
  EXPECT_TRUE(is_refused(parse_json_object("{\"a\":" + std::string(1'000'000, '['), "c.json"), "nested deeper"));
}

TEST(JsonReader, ReadsFiles) {
  const testing::TemporaryDirectory directory;
  testing::write_file(directory.file("c.json"), R"({"a":1})");
  EXPECT_TRUE(is_ok(load_json_object(directory.file("c.json"))));
  EXPECT_TRUE(is_refused(load_config_object(directory.file("d.json")), "d.json"));
}

constexpr KeyRule kRules[] = {
    {"read"},
    {"irrelevant", KeyUse::kIrrelevant},
    {"fixed", KeyUse::kDefault, R"([false, "no"])", "because"},
};

TEST(KeyAccounting, RefusesUnknownKeysAndValuesOffTheDefaultByName) {
  const auto check = [](const char* text) { return check_keys(*parse_config_object(text, "c.json"), kRules, "c.json"); };
  EXPECT_TRUE(is_ok(check(R"({"read":1,"irrelevant":[],"fixed":false})")));
  EXPECT_TRUE(is_ok(check(R"({"fixed":"no"})")));
  EXPECT_TRUE(is_ok(check(R"({"fixed":null})")));
  EXPECT_TRUE(is_refused(check(R"({"fixed":true})"), "c.json", "`fixed` is true, expected false: because"));
  EXPECT_TRUE(is_refused(check(R"({"red":1})"), "c.json", "unknown key `red`", "value 1"));
}

TEST(TypedValues, FallBackWhereAbsentOrNullAndRefuseWrongTypes) {
  const auto parsed = parse_config_object(R"({"u":7,"n":-1.5,"b":true,"s":"x","null":null})", "c.json");
  ASSERT_TRUE(is_ok(parsed));
  const OrderedJson& object = *parsed;
  EXPECT_EQ(*get_unsigned(object, "u", "c.json", std::nullopt, 10), 7U);
  EXPECT_EQ(*get_unsigned(object, "null", "c.json", 3, 10), 3U);
  EXPECT_EQ(*get_number(object, "n", "c.json", std::nullopt), -1.5);
  EXPECT_EQ(*get_number(object, "u", "c.json", std::nullopt), 7.0);
  EXPECT_EQ(*get_bool(object, "b", "c.json", std::nullopt), true);
  EXPECT_EQ(*get_string(object, "s", "c.json", std::nullopt), "x");
  EXPECT_EQ(*get_string(object, "absent", "c.json", "y"), "y");
  EXPECT_TRUE(is_refused(get_unsigned(object, "u", "c.json", 0, 6), "`u` is 7", "0 to 6"));
  EXPECT_TRUE(is_refused(get_unsigned(object, "n", "c.json", 0, 6), "`n` is -1.5"));
  EXPECT_TRUE(is_refused(get_number(object, "s", "c.json", 0), "`s`", "number"));
  EXPECT_TRUE(is_refused(get_bool(object, "u", "c.json", false), "`u`", "true or false"));
  EXPECT_TRUE(is_refused(get_string(object, "b", "c.json", ""), "`b`", "string"));
  EXPECT_TRUE(is_refused(get_unsigned(object, "absent", "c.json", std::nullopt, 6), "`absent` is missing"));
}

}  // namespace
}  // namespace pets::converter
