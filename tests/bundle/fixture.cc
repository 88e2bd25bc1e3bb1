#include "tests/bundle/fixture.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

namespace pets::bundle_test {

using testing_util::PetKind;

const converter::BaseModel& small_base() {
  static const converter::BaseModel base = [] {
    testing_util::ModelShape shape;
    shape.hidden = 24;
    shape.layers = 2;
    shape.heads = 3;
    shape.intermediate = 40;
    shape.vocabulary = 120;
    shape.positions = 20;
    converter::BaseModel made = testing_util::random_base(shape, 1);
    testing_util::add_tokenizer(made);
    return made;
  }();
  return base;
}

const std::vector<converter::PetTask>& small_tasks() {
  static const std::vector<converter::PetTask> tasks = {
      testing_util::random_task(small_base(), PetKind::kEverything, converter::HeadType::kSequenceClassification, "everything", 2,
                                {.bottleneck = 5, .sparse_density = 0.05}),
      testing_util::random_task(small_base(), PetKind::kLoraAll, converter::HeadType::kTokenClassification, "lora", 3)};
  return tasks;
}

std::vector<std::byte> file_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> characters{std::istreambuf_iterator<char>(file), {}};
  const auto bytes = std::as_bytes(std::span(characters));
  return {bytes.begin(), bytes.end()};
}

std::vector<std::byte> bundle_bytes(const converter::BaseModel& base, const std::vector<converter::PetTask>& tasks,
                                    converter::Precision precision, converter::Target target) {
  const testing_util::TemporaryFile file("fixture.pets");
  const auto segment = converter::make_base_segment(base, precision, target);
  EXPECT_TRUE(segment) << segment.status().c_str();
  std::vector<converter::SegmentImage> images;
  for (const auto& task : tasks) images.push_back(std::move(converter::make_task_segment(base, task, {}).value()));
  const Status written = converter::write_bundle(file.path(), &*segment, images, base.fingerprint);
  EXPECT_TRUE(written) << written.c_str();
  return file_bytes(file.path());
}

std::vector<std::byte> delta_bytes(const converter::BaseModel& base, const std::vector<converter::PetTask>& tasks) {
  const testing_util::TemporaryFile file("fixture-delta.pets");
  testing_util::write_random_delta(file.path(), base, tasks);
  return file_bytes(file.path());
}

Result<FilePointer> parse(std::span<const std::byte> bytes, bundle::Verification verification, const bundle::Dimensions* base) {
  return bundle::BundleFile::parse(bytes, "small.pets", verification, base);
}

Roots roots_of(std::span<const std::byte> bytes) {
  const schema::Bundle& directory = directory_of(bytes);
  Roots roots{};
  if (directory.base() != nullptr) roots.base = flatbuffers::GetRoot<schema::Base>(bytes.data() + directory.base()->offset());
  for (const schema::Segment* task : *directory.tasks()) {
    roots.tasks.push_back(flatbuffers::GetRoot<schema::Task>(bytes.data() + task->offset()));
  }
  return roots;
}

ChangedBundle::ChangedBundle()
    : bytes_([]() -> std::span<const std::byte> {
        static const std::vector<std::byte> bytes = bundle_bytes(small_base(), small_tasks());
        return bytes;
      }()) {}

Result<FilePointer> ChangedBundle::open() {
  reseal(bytes());
  return parse(bytes());
}

std::string ChangedBundle::refusal() {
  const auto file = open();
  return file ? "" : file.status().c_str();
}

std::string ChangedBundle::quarantine(size_t index) {
  const auto file = open();
  if (!file) return "";
  for (size_t i = 0; i < (*file)->tasks().size(); ++i) {
    if (i == index) continue;
    EXPECT_TRUE((*file)->tasks()[i].status) << "task " << i << ": " << (*file)->tasks()[i].status.c_str();
  }
  const bundle::TaskSegment& task = (*file)->tasks()[index];
  EXPECT_EQ(task.task == nullptr, !task.status);
  return task.status ? "" : task.status.c_str();
}

void expect_contains(const std::string& text, std::initializer_list<std::string> parts) {
  for (const std::string& part : parts) EXPECT_NE(text.find(part), std::string::npos) << "\"" << part << "\" is not in: " << text;
}

}  // namespace pets::bundle_test
