// A file that appears under its name whole or not at all.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "pets/status.h"

namespace pets::converter {

/// Written beside its target under a temporary name, synced and renamed into place by `commit`; removed by the destructor otherwise.
class TemporaryFile {
 public:
  TemporaryFile() = default;
  TemporaryFile(TemporaryFile&& other) noexcept;
  TemporaryFile& operator=(TemporaryFile&& other) noexcept;
  ~TemporaryFile();

  /// `target` may exist: then it must be a regular file (a link is followed).
  static Result<TemporaryFile> create(const std::string& target);

  Status write(std::span<const std::byte> bytes);
  /// Syncs the file, renames it over the target, syncs the directory.
  Status commit();
  /// Where the bytes are until `commit`.
  const std::string& path() const { return path_; }

 private:
  void discard() noexcept;

  std::string target_, path_;
  int descriptor_ = -1;
  int slot_ = -1;  // in the list of files that a signal removes
};

/// SIGINT, SIGTERM and SIGHUP remove the temporary files that exist, then act as they would have.
void remove_temporary_files_on_signals();

}  // namespace pets::converter
