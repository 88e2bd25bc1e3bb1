// A bundle file, opened and validated: everything that the engine may follow without further checks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pets/status.h"
#include "runtime/platform/file.h"
#include "schema/bundle_generated.h"

namespace pets::bundle {

/// The base's dimensions, which every tensor of a base and of its tasks is checked against.
struct Dimensions {
  uint32_t hidden = 0, layers = 0, heads = 0, intermediate = 0, vocabulary = 0, positions = 0, token_types = 0;
  bool has_pooler = false;
};

/// One segment: its FlatBuffer and its bytes. Tensor offsets count from `bytes.data()`.
struct BaseSegment {
  const schema::Base* base = nullptr;
  std::span<const std::byte> bytes;
};
struct TaskSegment {
  std::string name;
  const schema::Task* task = nullptr;  ///< null where `status` is an error
  std::span<const std::byte> bytes;
  Status status;  ///< why the task is quarantined
};

/// How much of a file is read when it is opened.
enum class Verification {
  kFull,      ///< structure, and every checksum of every segment
  kStructure  ///< everything but the payload checksums: `plan`, `inspect`
};

/// An open bundle or delta bundle. Immutable, shared by the tasks that live in it.
class BundleFile {
 public:
  /// Validates header, directory, base and tasks: verifier, versions, offsets, overflow, enum ranges, checksums, tensor shapes against the
  /// architecture, sparse indices, layouts and dtypes this build knows. A delta bundle's tasks are checked against `base` where given
  /// (else only their own structure). Damage in the header, the directory or the base refuses the file; damage in a task quarantines it.
  static Result<std::shared_ptr<const BundleFile>> open(const char* path, bool copy, Verification verification = Verification::kFull,
                                                        const Dimensions* base = nullptr) noexcept;
  /// For the fuzzer and tests: the same over bytes that outlive the object and are aligned to 64.
  static Result<std::shared_ptr<const BundleFile>> parse(std::span<const std::byte> bytes, const char* path, Verification verification,
                                                         const Dimensions* base = nullptr) noexcept;

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return bytes_; }
  bool has_base() const { return base_.base != nullptr; }
  const BaseSegment& base() const { return base_; }
  const Dimensions& dimensions() const { return dimensions_; }  ///< of the base, where there is one
  const std::string& base_fingerprint() const { return fingerprint_; }
  const std::string& producer() const { return producer_; }
  std::span<const TaskSegment> tasks() const { return tasks_; }

 private:
  friend class BundleFileReader;
  std::string path_;
  platform::MappedFile file_;
  std::span<const std::byte> bytes_;
  BaseSegment base_;
  Dimensions dimensions_;
  std::string fingerprint_, producer_;
  std::vector<TaskSegment> tasks_;
};

/// A validated tensor's first byte.
inline const std::byte* tensor_data(const schema::Tensor& tensor, std::span<const std::byte> segment) {
  return segment.data() + tensor.offset();
}
template <typename T>
const T* tensor_as(const schema::Tensor* tensor, std::span<const std::byte> segment) {
  return tensor == nullptr ? nullptr : reinterpret_cast<const T*>(tensor_data(*tensor, segment));
}

}  // namespace pets::bundle
