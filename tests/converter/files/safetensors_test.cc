// The safetensors container: what is read, and that every lie is refused with the file's and the tensor's name.
#include "converter/files/safetensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <deque>
#include <limits>

#include "tests/converter/files/safetensors_builder.h"
#include "tests/converter/result_matchers.h"
#include "tests/converter/temporary_directory.h"

namespace pets::converter::safetensors_test {
namespace {

using testing::as_bytes;
using testing::bytes_of;
using testing::is_ok;
using testing::is_refused;
using testing::safetensors_text;
using testing::SafetensorsBuilder;

/// The tensors point into the text: it is kept.
Result<SafetensorsFile> parse(const std::string& text) {
  static std::deque<std::string> kept;
  return SafetensorsFile::parse(as_bytes(kept.emplace_back(text)), "x.safetensors");
}

/// One tensor `t` with the given fields over `data`.
std::string one(const std::string& fields, const std::string& data) { return safetensors_text("{\"t\":{" + fields + "}}", data); }

TEST(Safetensors, ReadsNamesShapesTypesBytesAndMetadata) {
  const std::string data = bytes_of({1, 2, 3, 4, 5, 6, -7});
  const std::string text = safetensors_text(
      R"({"__metadata__":{"format":"pt","k":"v"},"b":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"a":{"dtype":"F32","shape":[],"data_offsets":[24,28]}}  )",
      data);
  const auto file = parse(text);
  ASSERT_TRUE(is_ok(file));
  ASSERT_EQ(file->tensors().size(), 2U);
  EXPECT_EQ(file->tensors()[0].name, "a");  // sorted
  EXPECT_EQ(file->metadata().at("k"), "v");
  const SafeTensor* b = file->find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->shape, (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(b->dtype, SafeDtype::kF32);
  const auto values = to_floats(*file, *b);
  ASSERT_TRUE(is_ok(values));
  EXPECT_EQ(*values, (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(*to_floats(*file, *file->find("a")), (std::vector<float>{-7}));
  EXPECT_EQ(file->find("c"), nullptr);
}

TEST(Safetensors, ReadsAFileThroughAMappingThatSurvivesAMove) {
  const testing::TemporaryDirectory directory;
  SafetensorsBuilder builder;
  builder.set_floats("x", {3}, {1, 2, 3});
  builder.write(directory.file("x.safetensors"));
  auto opened = SafetensorsFile::open(directory.file("x.safetensors"));
  ASSERT_TRUE(is_ok(opened));
  const SafetensorsFile file = std::move(*opened);
  EXPECT_EQ(*to_floats(file, *file.find("x")), (std::vector<float>{1, 2, 3}));
  EXPECT_TRUE(is_refused(SafetensorsFile::open(directory.file("y.safetensors")), "y.safetensors"));
}

TEST(Safetensors, AcceptsEmptyFilesAndEmptyTensors) {
  EXPECT_TRUE(is_ok(parse(safetensors_text("{}", ""))));
  const auto file = parse(one(R"("dtype":"F32","shape":[0,5],"data_offsets":[0,0])", ""));
  ASSERT_TRUE(is_ok(file));
  EXPECT_TRUE(to_floats(*file, *file->find("t"))->empty());
}

TEST(Safetensors, RefusesAFileTruncatedAnywhere) {
  SafetensorsBuilder builder;
  builder.set_floats("first", {4}, {1, 2, 3, 4});
  builder.set_floats("second", {2, 2}, {5, 6, 7, 8});
  const std::string whole = builder.text();
  ASSERT_TRUE(is_ok(parse(whole)));
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_TRUE(is_refused(parse(whole.substr(0, length)), "x.safetensors")) << length;
  }
}

TEST(Safetensors, RefusesLiesAboutTheHeaderLength) {
  EXPECT_TRUE(is_refused(parse(safetensors_text("{}", "", 3)), "header of 3 bytes", "file of 10 bytes"));
  EXPECT_TRUE(is_refused(parse(safetensors_text("{}", "", ~uint64_t{0})), "header of 18446744073709551615 bytes"));
  EXPECT_TRUE(is_refused(parse(safetensors_text("{}", "", 0)), "header"));
  EXPECT_TRUE(is_refused(parse(safetensors_text("{}", "", 1)), "malformed JSON"));
  const std::string large(100'000'001, ' ');
  EXPECT_TRUE(is_refused(parse(safetensors_text(large, "")), "header of 100000001 bytes", "allows 100000000"));
}

TEST(Safetensors, RefusesMalformedHeaders) {
  EXPECT_TRUE(is_refused(parse(safetensors_text("[]", "")), "does not start with `{`"));
  EXPECT_TRUE(is_refused(parse(safetensors_text(" {}", "")), "does not start with `{`"));
  EXPECT_TRUE(is_refused(parse(safetensors_text("{\"t\":", "")), "malformed JSON"));
  EXPECT_TRUE(is_refused(parse(safetensors_text("{\"\xFF\":{}}", "")), "malformed JSON"));
  EXPECT_TRUE(is_refused(parse(safetensors_text("{\"t\":1}", "")), "`t`", "expected an object"));
  const std::string entry = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  EXPECT_TRUE(is_refused(parse(safetensors_text("{\"t\":" + entry + ",\"t\":" + entry + "}", bytes_of({1}))), "duplicate key `t`"));
  std::string nested;
  for (int i = 0; i < 20000; ++i) nested += "{\"a\":";
  EXPECT_TRUE(is_refused(parse(safetensors_text(nested, "")), "nested deeper"));
}

TEST(Safetensors, RefusesMetadataThatIsNoMapOfStrings) {
  EXPECT_TRUE(is_refused(parse(safetensors_text(R"({"__metadata__":[]})", "")), "__metadata__"));
  EXPECT_TRUE(is_refused(parse(safetensors_text(R"({"__metadata__":{"k":1}})", "")), "__metadata__", "`k`", "string"));
}

TEST(Safetensors, RefusesEntriesWithMissingWrongOrUnknownFields) {
  const std::string data = bytes_of({1});
  EXPECT_TRUE(is_refused(parse(one(R"("shape":[1],"data_offsets":[0,4])", data)), "`t`", "dtype"));
  EXPECT_TRUE(is_refused(parse(one(R"("dtype":1,"shape":[1],"data_offsets":[0,4])", data)), "`t`", "dtype"));
  EXPECT_TRUE(is_refused(parse(one(R"("dtype":"F31","shape":[1],"data_offsets":[0,4])", data)), "`t`", "F31"));
  EXPECT_TRUE(is_refused(parse(one(R"("dtype":"F32","data_offsets":[0,4])", data)), "`t`", "shape"));
  EXPECT_TRUE(is_refused(parse(one(R"("dtype":"F32","shape":4,"data_offsets":[0,4])", data)), "`t`", "shape"));
  EXPECT_TRUE(is_refused(parse(one(R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])", data)), "`t`", "dimension"));
  EXPECT_TRUE(is_refused(parse(one(R"("dtype":"F32","shape":[1.5],"data_offsets":[0,4])", data)), "`t`", "dimension"));
  EXPECT_TRUE(is_refused(parse(one(R"("dtype":"F32","shape":[1])", data)), "`t`", "data_offsets"));
  EXPECT_TRUE(is_refused(parse(one(R"("dtype":"F32","shape":[1],"data_offsets":[0])", data)), "`t`", "data_offsets"));
  EXPECT_TRUE(is_refused(parse(one(R"("dtype":"F32","shape":[1],"data_offsets":[-4,0])", data)), "`t`", "data_offsets"));
  EXPECT_TRUE(
      is_refused(parse(one(R"("dtype":"F32","shape":[1],"data_offsets":[0,4],"stride":[1])", data)), "`t`", "unknown key `stride`"));
  EXPECT_TRUE(
      is_refused(parse(one(R"("dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,4])", data)), "`t`", "17"));
}

TEST(Safetensors, RefusesShapesThatDoNotMatchTheBytes) {
  const std::string data = bytes_of({1, 2});
  EXPECT_TRUE(is_refused(parse(one(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])", data)), "`t`", "needs 12 bytes", "hold 8"));
  EXPECT_TRUE(is_refused(parse(one(R"("dtype":"F16","shape":[2],"data_offsets":[0,8])", data)), "`t`", "needs 4 bytes", "hold 8"));
  EXPECT_TRUE(is_refused(parse(one(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8])", data)), "`t`", "overflows"));
  // 2^62 elements of 4 bytes: the byte count overflows to 0.
  EXPECT_TRUE(is_refused(parse(one(R"("dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0])", "")), "`t`"));
  EXPECT_TRUE(is_refused(parse(one(R"("dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,0])", "")), "`t`"));
  EXPECT_TRUE(is_refused(parse(one(R"("dtype":"F4","shape":[3],"data_offsets":[0,2])", "ab")), "`t`", "whole number of bytes"));
}

TEST(Safetensors, RefusesOffsetsOutsideOverlappingOrLeavingHoles) {
  const std::string data = bytes_of({1, 2, 3});
  const auto two = [&](const std::string& first, const std::string& second) {
    return parse(safetensors_text("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":" + first +
                                      "},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":" + second + "}}",
                                  data));
  };
  EXPECT_TRUE(is_refused(two("[0,4]", "[12,16]"), "`b`", "outside"));
  EXPECT_TRUE(is_refused(two("[8,4]", "[0,4]"), "`a`", "outside"));
  EXPECT_TRUE(is_refused(two("[18446744073709551612,18446744073709551615]", "[0,4]"), "`a`", "outside"));
  EXPECT_TRUE(is_refused(two("[0,4]", "[2,6]"), "`b`", "overlap"));
  EXPECT_TRUE(is_refused(two("[0,4]", "[0,4]"), "overlap"));
  EXPECT_TRUE(is_refused(two("[0,4]", "[8,12]"), "`b`", "4 bytes before its data"));
  EXPECT_TRUE(is_refused(two("[4,8]", "[8,12]"), "`a`", "4 bytes before its data"));
  EXPECT_TRUE(is_refused(two("[0,4]", "[4,8]"), "last 4 bytes"));
}

TEST(Safetensors, KeepsHostileNamesOnOneShortLine) {
  const std::string name = "bad\\n\\u0000" + std::string(5000, 'x');
  EXPECT_TRUE(is_refused(parse(safetensors_text("{\"" + name + "\":{\"dtype\":\"F31\",\"shape\":[],\"data_offsets\":[0,0]}}", "")),
                         "bad??xxx", "F31"));
}

TEST(SafetensorsValues, AreWidenedExactly) {
  const uint16_t halves[] = {0x3C00, 0xC000, 0x0001, 0x7BFF, 0x8000, 0x3555};
  const auto file = parse(one(R"("dtype":"F16","shape":[6],"data_offsets":[0,12])", {reinterpret_cast<const char*>(halves), 12}));
  ASSERT_TRUE(is_ok(file));
  EXPECT_EQ(*to_floats(*file, file->tensors()[0]), (std::vector<float>{1.0F, -2.0F, 0x1p-24F, 65504.0F, -0.0F, 0x1.554p-2F}));

  const uint16_t brains[] = {0x3F80, 0xC000, 0x0001};
  const auto other = parse(one(R"("dtype":"BF16","shape":[3],"data_offsets":[0,6])", {reinterpret_cast<const char*>(brains), 6}));
  ASSERT_TRUE(is_ok(other));
  EXPECT_EQ(*to_floats(*other, other->tensors()[0]), (std::vector<float>{1.0F, -2.0F, 0x1p-133F}));

  const double doubles[] = {0.1, -3e38};
  const auto wide = parse(one(R"("dtype":"F64","shape":[2],"data_offsets":[0,16])", {reinterpret_cast<const char*>(doubles), 16}));
  ASSERT_TRUE(is_ok(wide));
  EXPECT_EQ(*to_floats(*wide, wide->tensors()[0]), (std::vector<float>{0.1F, -3e38F}));
}

TEST(SafetensorsValues, RefusesNumbersThatAreNotFiniteOrDoNotFit) {
  const auto of_floats = [](float value) { return one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])", bytes_of({0, value})); };
  for (const float value : {std::nanf(""), std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
    const std::string text = of_floats(value);
    const auto file = parse(text);
    ASSERT_TRUE(is_ok(file));
    EXPECT_TRUE(is_refused(to_floats(*file, file->tensors()[0]), "`t`", "index 1", "finite"));
  }
  const uint16_t infinite = 0x7C00;
  const std::string half = one(R"("dtype":"F16","shape":[1],"data_offsets":[0,2])", {reinterpret_cast<const char*>(&infinite), 2});
  const auto half_file = parse(half);
  ASSERT_TRUE(is_ok(half_file));
  EXPECT_TRUE(is_refused(to_floats(*half_file, half_file->tensors()[0]), "`t`", "infinite"));
  const double huge = 1e39;
  const std::string wide = one(R"("dtype":"F64","shape":[1],"data_offsets":[0,8])", {reinterpret_cast<const char*>(&huge), 8});
  const auto wide_file = parse(wide);
  ASSERT_TRUE(is_ok(wide_file));
  EXPECT_TRUE(is_refused(to_floats(*wide_file, wide_file->tensors()[0]), "`t`", "does not fit"));
}

TEST(SafetensorsValues, RefusesOtherTypesByName) {
  const std::string text = one(R"("dtype":"I64","shape":[1],"data_offsets":[0,8])", std::string("\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 8));
  const auto file = parse(text);
  ASSERT_TRUE(is_ok(file));
  EXPECT_TRUE(is_refused(to_floats(*file, file->tensors()[0]), "`t`", "I64", "F32"));
  EXPECT_EQ(*to_integers(*file, file->tensors()[0]), (std::vector<int64_t>{-2}));
  const std::string floats = one(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])", bytes_of({1}));
  const auto float_file = parse(floats);
  ASSERT_TRUE(is_ok(float_file));
  EXPECT_TRUE(is_refused(to_integers(*float_file, float_file->tensors()[0]), "`t`", "F32", "I32"));
  const std::string small = one(R"("dtype":"I32","shape":[2],"data_offsets":[0,8])", std::string("\x05\0\0\0\xFF\xFF\xFF\xFF", 8));
  const auto small_file = parse(small);
  ASSERT_TRUE(is_ok(small_file));
  EXPECT_EQ(*to_integers(*small_file, small_file->tensors()[0]), (std::vector<int64_t>{5, -1}));
}

}  // namespace
}  // namespace pets::converter::safetensors_test
