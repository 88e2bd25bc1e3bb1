// A bundle appears whole or not at all.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "tests/bundle/fixture.h"

#include "converter/files/temporary_file.h"

namespace pets::bundle_test {
namespace {

using converter::TemporaryFile;

/// An empty directory for one test.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "pets-write-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  size_t count() const { return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(path_), {})); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

Status write_small(const std::string& path) {
  const auto base = converter::make_base_segment(small_base(), converter::Precision::kFloat32);
  return converter::write_bundle(path, &*base, {}, small_base().fingerprint);
}

/// Runs `child` in a process of its own and gives its exit status.
template <typename Child>
int in_child(Child child) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(child());
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

TEST(WriteBundle, LeavesNothingButTheBundle) {
  const Folder folder;
  const Status written = write_small(folder.file("a.pets"));
  ASSERT_TRUE(written) << written.c_str();
  EXPECT_EQ(folder.count(), 1U);
  EXPECT_TRUE(bundle::BundleFile::open(folder.file("a.pets").c_str(), false));
  struct stat information {};
  ASSERT_EQ(::stat(folder.file("a.pets").c_str(), &information), 0);
  const mode_t mask = ::umask(022);
  ::umask(mask);
  EXPECT_EQ(information.st_mode & 0777, 0666 & ~mask);
}

TEST(WriteBundle, ReplacesAnOlderBundleAndKeepsItsPermissions) {
  const Folder folder;
  std::ofstream(folder.file("a.pets")) << "old";
  ::chmod(folder.file("a.pets").c_str(), 0600);
  ASSERT_TRUE(write_small(folder.file("a.pets")));
  EXPECT_TRUE(bundle::BundleFile::open(folder.file("a.pets").c_str(), false));
  struct stat information {};
  ::stat(folder.file("a.pets").c_str(), &information);
  EXPECT_EQ(information.st_mode & 0777, 0600U);
}

TEST(WriteBundle, FollowsALink) {
  const Folder folder;
  std::ofstream(folder.file("real.pets")) << "old";
  std::filesystem::create_symlink("real.pets", folder.file("link.pets"));
  ASSERT_TRUE(write_small(folder.file("link.pets")));
  EXPECT_TRUE(std::filesystem::is_symlink(folder.file("link.pets")));
  EXPECT_TRUE(bundle::BundleFile::open(folder.file("real.pets").c_str(), false));
}

TEST(WriteBundle, ADirectoryThatIsNotThereIsAnError) {
  const Folder folder;
  const Status written = write_small(folder.file("none/a.pets"));
  EXPECT_EQ(written.code(), ErrorCode::kIo);
  expect_contains(written.c_str(), {"none/a.pets", "No such file"});
}

TEST(WriteBundle, DevicesAndDirectoriesAreNotReplaced) {
  const Folder folder;
  EXPECT_EQ(write_small(folder.path().string()).code(), ErrorCode::kIo);
  EXPECT_EQ(write_small("/dev/null").code(), ErrorCode::kIo);
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
  EXPECT_EQ(folder.count(), 0U);
}

TEST(WriteBundle, AFullDiskLeavesTheOldBundleAndNoOther) {
  const Folder folder;
  std::ofstream(folder.file("a.pets")) << "old";
  const int status = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);  // writing beyond the limit then fails as on a full disk
    const rlimit limit{20000, 20000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const Status written = write_small(folder.file("a.pets"));
    return written.code() == ErrorCode::kIo && written.message().find("cannot write") != std::string_view::npos ? 0 : 1;
  });
  EXPECT_EQ(status, 0);
  EXPECT_EQ(folder.count(), 1U);
  EXPECT_EQ(file_bytes(folder.file("a.pets")).size(), 3U);
}

TEST(WriteBundle, AFolderWithoutPermissionIsAnError) {
  const Folder folder;
  const int status = in_child([&] {
    ::chmod(folder.path().c_str(), 0555);
    if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) return 77;  // root may write anywhere
    return write_small(folder.file("a.pets")).code() == ErrorCode::kIo ? 0 : 1;
  });
  ::chmod(folder.path().c_str(), 0755);
  if (status == 77) GTEST_SKIP() << "cannot give up root";
  EXPECT_EQ(status, 0);
  EXPECT_EQ(folder.count(), 0U);
}

TEST(WriteBundle, AFileThatIsNotCommittedVanishes) {
  const Folder folder;
  {
    auto file = TemporaryFile::create(folder.file("a.pets"));
    ASSERT_TRUE(file);
    ASSERT_TRUE(file->write(std::as_bytes(std::span("half"))));
    EXPECT_EQ(folder.count(), 1U);
    TemporaryFile moved = std::move(file).value();
    EXPECT_EQ(folder.count(), 1U);
  }
  EXPECT_EQ(folder.count(), 0U);
}

TEST(WriteBundle, ASignalRemovesTheTemporaryFile) {
  for (const int signal_number : {SIGINT, SIGTERM, SIGHUP}) {
    const Folder folder;
    const int status = in_child([&] {
      converter::remove_temporary_files_on_signals();
      auto first = TemporaryFile::create(folder.file("a.pets"));
      auto second = TemporaryFile::create(folder.file("b.pets"));
      if (!first || !second || folder.count() != 2) return 1;
      ::raise(signal_number);
      return 2;
    });
    EXPECT_EQ(status, 1000 + signal_number);
    EXPECT_EQ(folder.count(), 0U);
  }
}

}  // namespace
}  // namespace pets::bundle_test
