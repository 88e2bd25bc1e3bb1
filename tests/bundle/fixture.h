// A small bundle with one task of every kind, and the ways in which tests change it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/bundle/reseal.h"
#include "tests/testing_util/random_model.h"

#include "runtime/bundle/bundle_file.h"

namespace pets::bundle_test {

using FilePointer = std::shared_ptr<const bundle::BundleFile>;

/// hidden 24 (not a multiple of 16), two layers, with pooler and tokenizer: every byte of the bundle can be tried.
const converter::BaseModel& small_base();
/// "everything" (every operator) and "lora", with heads for classes and for tokens.
const std::vector<converter::PetTask>& small_tasks();

/// The file that write_bundle makes of these.
std::vector<std::byte> bundle_bytes(const converter::BaseModel& base, const std::vector<converter::PetTask>& tasks,
                                    converter::Precision precision = converter::Precision::kFloat32,
                                    converter::Target target = converter::Target::kCpu);
std::vector<std::byte> delta_bytes(const converter::BaseModel& base, const std::vector<converter::PetTask>& tasks);
std::vector<std::byte> file_bytes(const std::string& path);

Result<FilePointer> parse(std::span<const std::byte> bytes, bundle::Verification verification = bundle::Verification::kFull,
                          const bundle::Dimensions* base = nullptr);

/// The segments of a bundle in order, with the base first.
struct Roots {
  const schema::Base* base;
  std::vector<const schema::Task*> tasks;
};
Roots roots_of(std::span<const std::byte> bytes);

/// The small bundle, changed by a test and resealed.
class ChangedBundle {
 public:
  ChangedBundle();
  explicit ChangedBundle(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::span<std::byte> bytes() { return bytes_.bytes(); }
  const schema::Bundle& directory() { return directory_of(bytes()); }
  Roots roots() { return roots_of(bytes()); }
  /// Opens it with the checksums made right.
  Result<FilePointer> open();
  /// The message with which it is refused; empty where it is not.
  std::string refusal();
  /// The message with which its task `index` is quarantined; empty where it is not, or where the whole file is refused.
  std::string quarantine(size_t index = 0);

 private:
  AlignedBytes bytes_;
};

/// Both parts occur in the text, as a gtest assertion.
void expect_contains(const std::string& text, std::initializer_list<std::string> parts);

}  // namespace pets::bundle_test
