#include "converter/manifest/manifest.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>

#include "tests/converter/golden_files.h"

namespace pets::converter::manifest_test {
namespace {

using testing::is_ok;
using testing::is_refused;
using testing::TemporaryDirectory;
using testing::write_file;

Status parse(const std::string& text) { return parse_manifest(text, "folder/m.yaml").status(); }

std::string with_task(const std::string& task) { return "version: 1\ntasks:\n  - " + task + "\n"; }

TEST(Manifest, ReadsEverythingThatTheFormatHas) {
  const Result<Manifest> manifest = parse_manifest(R"(version: 1
base: {path: models/minilm, precision: fp16}
tasks:
  - name: product-sentiment
    pet: {path: ../pets/product, format: peft}
    head: {type: sequence-classification, labels: [no, yes, 3]}
    max_length: 256
  - name: search
    pet: {format: none}
    head: {type: embedding, pooling: mean, normalize: true}
  - name: Größe 大
    pet: {path: /absolute, format: checkpoint, as: low-rank, rank: 8}
  - name: plain
    pet: {path: pets/plain}
)",
                                                   "folder/m.yaml");
  ASSERT_TRUE(manifest) << manifest.status().c_str();
  EXPECT_EQ(manifest->path, "folder/m.yaml");
  EXPECT_EQ(manifest->directory, "folder");
  EXPECT_EQ(manifest->base.path, "folder/models/minilm");
  EXPECT_EQ(manifest->base.precision, Precision::kFloat16);
  EXPECT_EQ(manifest->base.line, 2);
  ASSERT_EQ(manifest->tasks.size(), 4U);

  const TaskEntry& sentiment = manifest->tasks[0];
  EXPECT_EQ(sentiment.name, "product-sentiment");
  EXPECT_EQ(sentiment.source.path, "pets/product");
  EXPECT_EQ(sentiment.format, PetFormat::kPeft);
  EXPECT_EQ(sentiment.max_length, 256U);
  EXPECT_EQ(sentiment.line, 4);
  EXPECT_EQ(sentiment.source.head.type, HeadType::kSequenceClassification);
  EXPECT_EQ(sentiment.source.head.labels, (std::vector<std::string>{"no", "yes", "3"}));
  EXPECT_EQ(sentiment.source.head.pooling, Pooling::kUnknown);
  EXPECT_FALSE(sentiment.source.head.normalize.has_value());

  const TaskEntry& search = manifest->tasks[1];
  EXPECT_EQ(search.format, PetFormat::kNone);
  EXPECT_TRUE(search.source.path.empty());
  EXPECT_EQ(search.source.head.type, HeadType::kEmbedding);
  EXPECT_EQ(search.source.head.pooling, Pooling::kMean);
  EXPECT_EQ(search.source.head.normalize, true);

  const TaskEntry& checkpoint = manifest->tasks[2];
  EXPECT_EQ(checkpoint.name, "Größe 大");
  EXPECT_EQ(checkpoint.source.path, "/absolute");
  EXPECT_TRUE(checkpoint.source.as_low_rank);
  EXPECT_EQ(checkpoint.source.rank, 8U);

  EXPECT_EQ(manifest->tasks[3].format, PetFormat::kAuto);
  EXPECT_EQ(manifest->tasks[3].source.head.type, HeadType::kUnknown);
  EXPECT_EQ(manifest->tasks[3].max_length, 0U);
}

TEST(Manifest, BaseAndTasksMayBeAbsent) {
  const Result<Manifest> manifest = parse_manifest("version: 1\n", "m.yaml");
  ASSERT_TRUE(manifest) << manifest.status().c_str();
  EXPECT_TRUE(manifest->base.path.empty());
  EXPECT_EQ(manifest->base.line, 0);
  EXPECT_TRUE(manifest->tasks.empty());
  EXPECT_EQ(manifest->directory, ".");
  EXPECT_TRUE(is_ok(parse("version: 1\ntasks:\n")));
  EXPECT_TRUE(is_ok(parse("version: 1\ntasks: []\n")));
}

TEST(Manifest, ReadsEveryGolden) {
  for (const auto& entry : std::filesystem::directory_iterator(PETS_GOLDEN_DIR "/manifests")) {
    if (entry.path().extension() != ".yaml") continue;
    const Result<Manifest> manifest = read_manifest(entry.path().string());
    EXPECT_TRUE(manifest) << manifest.status().c_str();
  }
}

TEST(Manifest, UnknownKeysAreRefusedWithTheirLine) {
  EXPECT_TRUE(is_refused(parse("version: 1\nbases: {}\n"), "folder/m.yaml:2:", "unknown key `bases`", "version, base, tasks"));
  EXPECT_TRUE(is_refused(parse("version: 1\nbase:\n  path: a\n  dtype: fp32\n"), "m.yaml:4:", "base: unknown key `dtype`"));
  EXPECT_TRUE(is_refused(parse(with_task("{name: a, pet: {path: p}, lenght: 3}")), "m.yaml:3:", "tasks[0]: unknown key `lenght`"));
  EXPECT_TRUE(is_refused(parse(with_task("{name: a, pet: {path: p, foo: 1}}")), "m.yaml:3:", "tasks[0].pet: unknown key `foo`"));
  EXPECT_TRUE(is_refused(parse(with_task("{name: a, pet: {path: p}, head: {kind: x}}")), "m.yaml:3:", "tasks[0].head: unknown key `kind`"));
  EXPECT_TRUE(is_refused(parse("version: 1\n[a, b]: 1\n"), "m.yaml:2:", "unknown key a list"));
  EXPECT_TRUE(is_refused(parse("version: 1\n\"a\\nb\": 1\n"), "m.yaml:2:", "unknown key `a"));
}

TEST(Manifest, DuplicateKeysAreRefusedWithBothLines) {
  EXPECT_TRUE(is_refused(parse("version: 1\nversion: 1\n"), "m.yaml:2:", "`version` is there twice", "line 1"));
  EXPECT_TRUE(is_refused(parse("version: 1\ntasks:\n  - name: a\n    pet: {path: p}\n    name: b\n"), "m.yaml:5:", "tasks[0]",
                         "`name` is there twice", "line 3"));
}

TEST(Manifest, TwoTasksOfOneNameAreRefused) {
  EXPECT_TRUE(
      is_refused(parse("version: 1\ntasks:\n  - {name: a, pet: {path: p}}\n  - {name: b, pet: {path: p}}\n  - {name: a, pet: {path: q}}\n"),
                 "m.yaml:5:", "`a`", "line 3"));
}

TEST(Manifest, TaskNamesAreChecked) {
  EXPECT_TRUE(is_refused(parse(with_task("{pet: {path: p}}")), "m.yaml:3:", "tasks[0].name", "is missing"));
  EXPECT_TRUE(is_refused(parse(with_task("{name: '', pet: {path: p}}")), "tasks[0].name", "is empty"));
  EXPECT_TRUE(is_refused(parse(with_task("{name: \"a\\nb\", pet: {path: p}}")), "tasks[0].name", "control characters"));
  EXPECT_TRUE(is_refused(parse(with_task("{name: \"a\\x85b\", pet: {path: p}}")), "tasks[0].name", "control characters"));
  EXPECT_TRUE(is_refused(parse(with_task("{name: [a], pet: {path: p}}")), "tasks[0].name", "expected a text, found a list"));
  EXPECT_TRUE(is_refused(parse(with_task("{name: ~, pet: {path: p}}")), "tasks[0].name", "expected a text, found nothing"));
  EXPECT_TRUE(is_ok(parse(with_task("{name: " + std::string(256, 'a') + ", pet: {path: p}}"))));
  EXPECT_TRUE(is_refused(parse(with_task("{name: " + std::string(257, 'a') + ", pet: {path: p}}")), "256", "257"));
}

TEST(Manifest, TypesAreChecked) {
  EXPECT_TRUE(is_refused(parse("base: {path: a}\n"), "version: is missing"));
  EXPECT_TRUE(is_refused(parse("version: 2\n"), "m.yaml:1:", "version", "`2`"));
  EXPECT_TRUE(is_refused(parse("version: '1'\n"), "m.yaml:1:", "version", "`1`"));
  EXPECT_TRUE(is_refused(parse("version: 1\nbase: models\n"), "m.yaml:2:", "base: expected a mapping, found `models`"));
  EXPECT_TRUE(is_refused(parse("version: 1\nbase: {precision: fp32}\n"), "m.yaml:2:", "base.path", "is missing"));
  EXPECT_TRUE(is_refused(parse("version: 1\nbase: {path: a, precision: fp8}\n"), "base.precision",
                         "expected fp32, fp16, bf16 or int8, found `fp8`"));
  EXPECT_TRUE(is_refused(parse("version: 1\nbase: {path: a, precision: INT8}\n"), "base.precision", "found `INT8`"));
  EXPECT_TRUE(is_refused(parse("version: 1\nbase: {path: ''}\n"), "base.path", "expected a path"));
  EXPECT_TRUE(is_refused(parse("version: 1\ntasks: {a: 1}\n"), "m.yaml:2:", "tasks: expected a list, found a mapping"));
  EXPECT_TRUE(is_refused(parse("version: 1\ntasks: [a]\n"), "tasks[0]: expected a mapping, found `a`"));
  EXPECT_TRUE(is_refused(parse(with_task("{name: a}")), "tasks[0].pet", "is missing"));
  EXPECT_TRUE(is_refused(parse(with_task("{name: a, pet: p}")), "tasks[0].pet: expected a mapping, found `p`"));
  EXPECT_TRUE(is_refused(parse(with_task("{name: a, pet: {}}")), "tasks[0].pet.path", "is missing"));
  for (const std::string length : {"0", "2", "-5", "1.5", "many", "99999999999999999999", "'64'", "[64]", "0x40"}) {
    EXPECT_TRUE(
        is_refused(parse(with_task("{name: a, pet: {path: p}, max_length: " + length + "}")), "tasks[0].max_length", "whole number"));
  }
  EXPECT_TRUE(
      is_refused(parse(with_task("{name: a, pet: {format: none}, head: {normalize: yes}}")), "normalize", "true or false", "`yes`"));
  EXPECT_TRUE(
      is_refused(parse(with_task("{name: a, pet: {path: p}, head: {labels: yes}}")), "labels: expected a list of texts, found `yes`"));
  EXPECT_TRUE(is_refused(parse(with_task("{name: a, pet: {path: p}, head: {labels: [a, {b: c}]}}")), "labels", "found a mapping"));
  EXPECT_TRUE(is_refused(parse(with_task("{name: a, pet: {path: p}, head: {labels: [null]}}")), "labels", "found nothing"));
  EXPECT_TRUE(is_refused(parse(with_task("{name: a, pet: {path: p}, head: {labels: []}}")), "labels", "one label or more"));
  EXPECT_TRUE(is_refused(parse(with_task("{name: a, pet: {path: p}, head: {labels: [a, b, a]}}")), "`a` is there twice"));
}

TEST(Manifest, ValuesAreChecked) {
  EXPECT_TRUE(is_refused(parse(with_task("{name: a, pet: {path: p, format: onnx}}")), "tasks[0].pet.format", "adapterhub", "`onnx`"));
  EXPECT_TRUE(is_refused(parse(with_task("{name: a, pet: {path: p, format: none}}")), "tasks[0].pet.path", "format: none"));
  EXPECT_TRUE(is_refused(parse(with_task("{name: a, pet: {path: p, as: low-rank}}")), "tasks[0].pet.as", "rank"));
  EXPECT_TRUE(is_refused(parse(with_task("{name: a, pet: {path: p, rank: 3}}")), "tasks[0].pet.rank", "as: low-rank"));
  EXPECT_TRUE(is_refused(parse(with_task("{name: a, pet: {path: p, as: dense, rank: 3}}")), "tasks[0].pet.as", "`dense`"));
  EXPECT_TRUE(is_refused(parse(with_task("{name: a, pet: {path: p, as: low-rank, rank: 0}}")), "tasks[0].pet.rank", "`0`"));
  EXPECT_TRUE(is_refused(parse(with_task("{name: a, pet: {path: p, format: peft, as: low-rank, rank: 3}}")), "checkpoint", "peft"));
  EXPECT_TRUE(
      is_refused(parse(with_task("{name: a, pet: {path: p}, head: {type: ner}}")), "tasks[0].head.type", "token-classification", "`ner`"));
  EXPECT_TRUE(is_refused(parse(with_task("{name: a, pet: {path: p}, head: {pooling: max}}")), "tasks[0].head.pooling", "`max`"));
  EXPECT_TRUE(is_ok(parse(with_task("{name: a, pet: {path: p}, head: {type: auto}}"))));
}

TEST(Manifest, MalformedYamlIsRefusedWithItsLine) {
  EXPECT_TRUE(is_refused(parse("version: 1\nbase: {path: a\ntasks: []\n"), "m.yaml:"));
  EXPECT_TRUE(is_refused(parse("version: 1\n\tbase: 3\n"), "m.yaml:2:"));
  EXPECT_TRUE(is_refused(parse(""), "expected one YAML document, found 0"));
  EXPECT_TRUE(is_refused(parse("version: 1\n---\nversion: 1\n"), "expected one YAML document, found 2"));
  EXPECT_TRUE(is_refused(parse("just text"), "expected a mapping"));
  EXPECT_TRUE(is_refused(parse("version: 1\nbase: {path: \"\xC3\x28\"}\n"), "not valid UTF-8 at byte"));
  EXPECT_TRUE(is_refused(parse("version: *nothing\n"), "m.yaml:1:"));
  EXPECT_TRUE(is_refused(parse("version: !!python/object 1\n"), "m.yaml:1:", "tag"));
}

TEST(Manifest, AnchorsWork) {
  const Result<Manifest> manifest = parse_manifest(
      "version: 1\ntasks:\n  - {name: a, pet: {path: p}, head: &h {labels: [x, y]}}\n  - {name: b, pet: {path: p}, head: *h}\n", "m.yaml");
  ASSERT_TRUE(manifest) << manifest.status().c_str();
  EXPECT_EQ(manifest->tasks[1].source.head.labels, (std::vector<std::string>{"x", "y"}));
}

TEST(Manifest, HostileYamlEndsQuickly) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(parse("version: 1\nbase: " + std::string(100000, '[') + "\n"));
  EXPECT_FALSE(parse("version: 1\nbase: " + std::string(100000, '{') + "\n"));
  EXPECT_FALSE(parse(std::string(100000, '-') + "\n"));
  std::string nested;
  for (int i = 0; i < 20000; ++i) nested += "- ";
  EXPECT_FALSE(parse(nested));
  std::string bomb = "version: 1\nbase: &a0 [x, x]\n";
  for (int i = 1; i < 64; ++i) {
    bomb += "k" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + std::to_string(i - 1) + ", *a" + std::to_string(i - 1) + "]\n";
  }
  EXPECT_FALSE(parse(bomb));
  EXPECT_FALSE(parse("version: 1\ntasks: &t [*t]\n"));
  EXPECT_FALSE(parse("version: 1\ntasks: &t\n  - {name: a, pet: {path: p}, head: {labels: *t}}\n"));

  // 3,000 labels, named by 3,000 tasks: nine million values in 180 KB.
  std::string aliases = "version: 1\ntasks:\n  - {name: t, pet: {path: p}, head: {labels: &l [";
  for (int i = 0; i < 3000; ++i) aliases += "l" + std::to_string(i) + ", ";
  aliases += "]}}\n";
  for (int i = 0; i < 3000; ++i) aliases += "  - {name: t" + std::to_string(i) + ", pet: {path: p}, head: {labels: *l}}\n";
  EXPECT_TRUE(is_refused(parse(aliases), "m.yaml:", "denotes too much"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(Manifest, FilesThatCannotBeReadAreRefused) {
  EXPECT_TRUE(is_refused(read_manifest("/no/such/manifest.yaml").status(), "/no/such/manifest.yaml"));
  const TemporaryDirectory directory;
  EXPECT_TRUE(is_refused(read_manifest(directory.path()).status(), directory.path()));
  write_file(directory.file("m.yaml"), "version: 1\nbase: {path: sub/../base}\n");
  const Result<Manifest> manifest = read_manifest(directory.file("m.yaml"));
  ASSERT_TRUE(manifest) << manifest.status().c_str();
  EXPECT_EQ(manifest->base.path, directory.file("base"));
  write_file(directory.file("large.yaml"), std::string((4 << 20) + 1, ' '));
  EXPECT_TRUE(is_refused(read_manifest(directory.file("large.yaml")).status(), "4 MiB"));
}

}  // namespace
}  // namespace pets::converter::manifest_test
