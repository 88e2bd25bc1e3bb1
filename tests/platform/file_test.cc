#include "runtime/platform/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>

namespace pets::platform {
namespace {

/// A path of this process's own in the temporary folder; what stands there goes with it.
class TemporaryPath {
 public:
  explicit TemporaryPath(const std::string& name) : path_(testing::TempDir() + "pets-file-test-" + std::to_string(::getpid()) + name) {}
  ~TemporaryPath() { ::unlink(path_.c_str()); }
  const char* c_str() const { return path_.c_str(); }

 private:
  std::string path_;
};

TEST(MappedFile, MapsOrCopiesTheBytesOfAFile) {
  const TemporaryPath path("-bytes");
  std::ofstream(path.c_str()) << "some bytes";
  for (const bool copy : {false, true}) {
    const Result<MappedFile> file = MappedFile::open(path.c_str(), copy);
    ASSERT_TRUE(file.is_ok()) << file.status().message();
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(file.value().bytes().data()), file.value().bytes().size()), "some bytes");
    EXPECT_EQ(file.value().is_copy(), copy);
  }
  EXPECT_EQ(file_size(path.c_str()).value(), 10U);
}

TEST(MappedFile, AnEmptyFileHasNoBytes) {
  const TemporaryPath path("-empty");
  std::ofstream(path.c_str()).flush();
  EXPECT_TRUE(MappedFile::open(path.c_str()).value().bytes().empty());
}

TEST(MappedFile, APipeWithoutAWriterIsRefusedAtOnce) {
  const TemporaryPath path("-pipe");
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const Result<MappedFile> file = MappedFile::open(path.c_str());
  ASSERT_FALSE(file.is_ok());
  EXPECT_EQ(std::string(file.status().message()), std::string(path.c_str()) + ": expected a regular file");
}

TEST(MappedFile, WhatIsNoFileIsRefusedByName) {
  EXPECT_EQ(MappedFile::open("/nowhere/at/all").status().code(), ErrorCode::kNotFound);
  EXPECT_EQ(MappedFile::open("/").status().code(), ErrorCode::kIo);
  EXPECT_EQ(MappedFile::open("/dev/null").status().code(), ErrorCode::kIo);
  EXPECT_FALSE(file_size("/").is_ok());
}

}  // namespace
}  // namespace pets::platform
