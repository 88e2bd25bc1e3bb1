// Latency tables: what is written reads back, what is damaged is refused by line, and a table of another device by field.
#include "runtime/serving/latency_table.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>
#include <fstream>
#include <random>
#include <string>

#include "tests/testing_util/random_model.h"

namespace pets::serving {
namespace {

LatencyTable sample() {
  LatencyTable table;
  table.key.device = "  A \"CPU\" # 1, äöü \\n ";  // blanks at both ends, too
  table.key.isa = "avx2";
  table.key.backend = "cpu";
  table.key.precision = "int8";
  table.key.threads = 4;
  table.key.hidden = 384;
  table.key.layers = 6;
  table.key.heads = 12;
  table.key.intermediate = 1536;
  table.key.vocabulary = 30522;
  table.key.positions = 512;
  table.key.clock_khz = 3100000;
  table.alpha = {{1, 16, 0.1 + 0.2}, {4, 16, 1.0 / 3}, {1, 1, 1e-12}};
  table.beta = {{OperatorFamily::kLowRank, 73728, 16, 1e-7}, {OperatorFamily::kBottleneck, 1, 1, 5e-324 + 1e-12}};
  return table;
}

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string written(const LatencyTable& table) {
  const testing_util::TemporaryFile file("table");
  const Status status = write_latency_table(file.c_str(), table);
  EXPECT_TRUE(status) << status.c_str();
  return text_of(file.path());
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  const size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return text.replace(at, what.size(), by);
}

void expect_error(const std::string& text, ErrorCode code, const std::string& part) {
  const auto table = parse_latency_table(text, "some.table");
  ASSERT_FALSE(table) << part;
  EXPECT_EQ(table.status().code(), code) << table.status().c_str();
  EXPECT_NE(table.status().message().find("some.table"), std::string_view::npos) << table.status().c_str();
  EXPECT_NE(table.status().message().find(part), std::string_view::npos) << table.status().c_str();
}

TEST(LatencyTable, ReadsBackWhatWasWritten) {
  const testing_util::TemporaryFile file("table");
  for (const char* power_mode : {"", "pmode:0002 fmode:quiet"}) {
    LatencyTable table = sample();
    table.key.power_mode = power_mode;
    ASSERT_TRUE(write_latency_table(file.c_str(), table));
    const auto read = read_latency_table(file.c_str());
    ASSERT_TRUE(read) << read.status().c_str();
    EXPECT_EQ(read->key, table.key);
    ASSERT_EQ(read->alpha.size(), table.alpha.size());
    for (size_t i = 0; i < table.alpha.size(); ++i) {
      EXPECT_EQ(read->alpha[i].queries, table.alpha[i].queries);
      EXPECT_EQ(read->alpha[i].length, table.alpha[i].length);
      EXPECT_EQ(read->alpha[i].seconds, table.alpha[i].seconds);  // the same double
    }
    ASSERT_EQ(read->beta.size(), table.beta.size());
    for (size_t i = 0; i < table.beta.size(); ++i) {
      EXPECT_EQ(read->beta[i].family, table.beta[i].family);
      EXPECT_EQ(read->beta[i].work, table.beta[i].work);
      EXPECT_EQ(read->beta[i].rows, table.beta[i].rows);
      EXPECT_EQ(read->beta[i].seconds, table.beta[i].seconds);
    }
    EXPECT_TRUE(check_key(read->key, table.key, "t"));
  }
}

TEST(LatencyTable, DamageIsRefusedWithItsLine) {
  const std::string good = written(sample());
  ASSERT_TRUE(parse_latency_table(good, "some.table"));
  const auto damaged = [&](const std::string& what, const std::string& by, const std::string& part) {
    expect_error(replaced(good, what, by), ErrorCode::kDamaged, part);
  };
  expect_error("", ErrorCode::kDamaged, "first line");
  expect_error("{}", ErrorCode::kDamaged, "first line");
  expect_error(replaced(good, "table 1", "table 2"), ErrorCode::kUnsupported, "expected 1, found '2'");
  damaged("threads 4", "threads 4\nthreads 4", "threads: expected once, found again");
  damaged("threads 4\n", "", "threads: expected once, found nowhere");
  damaged("clock_khz 3100000\n", "", "clock_khz");
  damaged("threads 4", "treads 4", ":8: a key");
  damaged("threads 4", "threads 0", ":8: threads: expected 1 to 1024, found '0'");
  damaged("threads 4", "threads 1025", "1025");
  damaged("threads 4", "threads 4 ", "'4 '");
  damaged("threads 4", "threads\t4", "printable");
  damaged("isa avx2", "isa ", "isa: expected a value");
  damaged("isa avx2", "isa avx2\r", "printable");
  damaged("isa avx2", "isa \xFF", "printable");
  damaged("isa avx2", "isa " + std::string(257, 'x'), "256 bytes");
  damaged("alpha 1 16 ", "alpha 0 16 ", "alpha queries");
  damaged("alpha 1 16 ", "alpha -1 16 ", "alpha queries");
  damaged("alpha 1 16 ", "alpha 1 4194305 ", "alpha tokens");
  damaged("alpha 1 16 ", "alpha 4194304 4194304 ", "rows");
  for (const char* number : {"0", "-1", "nan", "inf", "-inf", "1e7", "1e999", "0x1p-3", "1,5", "+1", " 1", "1 1", ""}) {
    expect_error(replaced(good, "alpha 1 1 1e-12", std::string("alpha 1 1 ") + number), ErrorCode::kDamaged, "alpha seconds");
  }
  damaged("beta low_rank", "beta lowrank", "a family");
  damaged("beta low_rank 73728", "beta low_rank 0", "beta work");
  damaged("end\n", "", "cut off");
  damaged("end\n", "end\nthreads 4\n", "after 'end'");
  for (size_t size = 0; size + 1 < good.size(); ++size) EXPECT_FALSE(parse_latency_table(good.substr(0, size), "t"));
  LatencyTable one = sample();
  one.alpha.resize(1);
  const testing_util::TemporaryFile file("table");
  EXPECT_EQ(write_latency_table(file.c_str(), one).code(), ErrorCode::kInvalidArgument);
  std::string many = good.substr(0, good.find("alpha 1 16"));
  for (size_t i = 0; i <= kMostTablePoints; ++i) many += "alpha 1 16 1\n";
  expect_error(many, ErrorCode::kDamaged, "4096 points");
  expect_error(std::string(kMostTableBytes + 1, '#'), ErrorCode::kDamaged, "bytes");
}

TEST(LatencyTable, WhatCannotBeReadIsNotWritten) {
  const testing_util::TemporaryFile file("table");
  ASSERT_TRUE(write_latency_table(file.c_str(), sample()));
  const std::string before = text_of(file.path());
  for (const char* device : {"", "a\nb", "a\nclock_khz 1", "a\x01", "a\xC0"}) {
    LatencyTable table = sample();
    table.key.device = device;
    EXPECT_EQ(write_latency_table(file.c_str(), table).code(), ErrorCode::kInvalidArgument) << device;
  }
  LatencyTable table = sample();
  table.key.device = "a\n# hidden by a line break";
  EXPECT_EQ(write_latency_table(file.c_str(), table).code(), ErrorCode::kInvalidArgument);
  table = sample();
  table.beta[0].seconds = std::nan("");
  EXPECT_EQ(write_latency_table(file.c_str(), table).code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(text_of(file.path()), before);
  EXPECT_EQ(write_latency_table("/no/such/folder/table", sample()).code(), ErrorCode::kIo);
  EXPECT_EQ(read_latency_table("/no/such/file").status().code(), ErrorCode::kNotFound);
  EXPECT_FALSE(read_latency_table("/dev/zero"));
}

TEST(LatencyTable, MutationsNeverCrashTheReader) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const std::string good = written(sample());
  size_t accepted = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string text = good;
    for (uint64_t edits = 1 + random() % 3; edits > 0; --edits) {
      const size_t at = random() % text.size();
      switch (random() % 3) {
        case 0:
          text[at] = static_cast<char>(random());
          break;
        case 1:
          text.erase(at, 1 + random() % 20);
          break;
        default:
          text.insert(at, text.substr(random() % text.size(), random() % 40));
      }
    }
    const auto table = parse_latency_table(text, "mutated");
    accepted += table ? 1 : 0;
    if (table && accepted <= 100) {  // what is taken can be written and is taken again
      ASSERT_TRUE(parse_latency_table(written(*table), "again"));
    }
  }
  EXPECT_GT(accepted, 0U);
}

TEST(LatencyTable, AnotherDeviceIsRefusedByField) {
  const TableKey here = sample().key;
  const auto refused = [&](const TableKey& table, const std::string& message) {
    const Status status = check_key(table, here, "x.table");
    EXPECT_EQ(status.code(), ErrorCode::kMismatch);
    EXPECT_EQ(status.message(), message);
  };
  EXPECT_TRUE(check_key(here, here, "x.table"));
  TableKey table = here;
  table.isa = "avx512";
  refused(table, "x.table: isa: expected 'avx2', found 'avx512'");
  table = here;
  table.device = "another";
  EXPECT_EQ(check_key(table, here, "x.table").code(), ErrorCode::kMismatch);
  table = here;
  table.backend = "cuda";
  refused(table, "x.table: backend: expected 'cpu', found 'cuda'");
  table = here;
  table.precision = "fp32";
  refused(table, "x.table: precision: expected 'int8', found 'fp32'");
  uint32_t TableKey::*const fields[] = {&TableKey::threads,      &TableKey::hidden,     &TableKey::layers,   &TableKey::heads,
                                        &TableKey::intermediate, &TableKey::vocabulary, &TableKey::positions};
  for (const auto field : fields) {
    table = here;
    ++(table.*field);
    EXPECT_EQ(check_key(table, here, "x.table").code(), ErrorCode::kMismatch);
  }
  table = here;
  table.clock_khz = 1;
  refused(table, "x.table: clock_khz: expected 3100000, found 1");
  table.clock_khz = 0;
  EXPECT_TRUE(check_key(table, here, "x.table"));
  table.power_mode = "2";
  EXPECT_TRUE(check_key(table, here, "x.table"));  // here none is known
  TableKey jetson = here;
  jetson.power_mode = "0";
  EXPECT_EQ(check_key(table, jetson, "x.table").message(), "x.table: power_mode: expected '0', found '2'");
  table = here;
  table.device = std::string(5000, 'x');
  EXPECT_NE(check_key(table, here, "x.table").message().find("found 'xxx"), std::string_view::npos);
}

}  // namespace
}  // namespace pets::serving
