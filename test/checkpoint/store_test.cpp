// Directories of checkpoints: what is kept, and what a crash or a full disk may leave.
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>

#include "checkpoint/sample.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/random.hpp"

using namespace cos2p;
using namespace cos2p::test;
namespace fs = std::filesystem;

namespace {

std::string listing(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  std::string text;
  for (const auto& name : names) text += name + " ";
  return text;
}

void refused(const std::string& directory, const Checkpoint& checkpoint, const std::string& text) {
  BOOST_CHECK_EXCEPTION(write_checkpoint(directory, checkpoint), Error, [&](const Error& error) {
    const std::string what = error.what();
    const bool good = error.code() == ExitCode::environment && what.find(text) != std::string::npos &&
                      what.find(directory) != std::string::npos;
    if (!good) BOOST_TEST_ERROR("unexpected message: " << what << "; expected in it: " << text);
    return good;
  });
}

/// Lets files of this process grow to `bytes` only.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : signal_(::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, signal_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  FileSizeLimit(FileSizeLimit&&) = delete;
  FileSizeLimit& operator=(FileSizeLimit&&) = delete;

 private:
  rlimit before_{};
  void (*signal_)(int);
};

/// A small file system in memory; exists only where the test may mount.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& options) {
    mounted_ = ::mount("tmpfs", directory_.path().c_str(), "tmpfs", 0, options.c_str()) == 0;
    BOOST_WARN_MESSAGE(mounted_, "SKIPPED: no tmpfs can be mounted ("
                                     << std::strerror(errno)
                                     << "), this needs root; limits on file sizes stand in");
  }
  ~SmallDisk() {
    if (mounted_) ::umount(directory_.path().c_str());
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  SmallDisk(SmallDisk&&) = delete;
  SmallDisk& operator=(SmallDisk&&) = delete;
  bool mounted() const { return mounted_; }
  const TemporaryDirectory& directory() const { return directory_; }

 private:
  TemporaryDirectory directory_;
  bool mounted_ = false;
};

}  // namespace

BOOST_AUTO_TEST_CASE(two_are_kept_and_latest_leads_to_the_newest) {
  const TemporaryDirectory directory;
  const std::string run = directory / "new/run";  // created on the way
  for (int round = 1; round <= 4; ++round) {
    write_checkpoint(run, make_checkpoint(0, round));
    BOOST_TEST(fs::read_symlink(run + "/latest").string() ==
               "checkpoint-00000" + std::to_string(round) + ".h5");
  }
  BOOST_TEST(listing(run) == "checkpoint-000003.h5 checkpoint-000004.h5 latest ");
  write_checkpoint(run, make_checkpoint(7, 4));  // the same round again replaces it
  BOOST_TEST(listing(run) == "checkpoint-000003.h5 checkpoint-000004.h5 latest ");
  BOOST_TEST((bytes_of(read_checkpoint(run)) == bytes_of(make_checkpoint(7, 4))));
}

BOOST_AUTO_TEST_CASE(a_run_started_anew_beside_older_checkpoints_keeps_its_own) {
  const TemporaryDirectory directory;
  write_bytes(directory / "checkpoint-notes.h5", "mine");
  for (const int round : {9, 10, 1, 2}) write_checkpoint(directory.path(), make_checkpoint(0, round));
  BOOST_TEST(listing(directory.path()) ==
             "checkpoint-000001.h5 checkpoint-000002.h5 checkpoint-notes.h5 latest ");
}

BOOST_AUTO_TEST_CASE(a_damaged_newest_checkpoint_falls_back_to_the_one_before) {
  const TemporaryDirectory directory;
  write_checkpoint(directory.path(), make_checkpoint(0, 1));
  write_checkpoint(directory.path(), make_checkpoint(1, 2));
  fs::resize_file(directory / "checkpoint-000002.h5", 5000);
  BOOST_TEST((bytes_of(read_checkpoint(directory.path())) == bytes_of(make_checkpoint(0, 1))));
  BOOST_CHECK_THROW(read_checkpoint(directory / "latest"), Error);  // named by itself it is refused
  fs::remove(directory / "latest");
  BOOST_TEST((bytes_of(read_checkpoint(directory.path())) == bytes_of(make_checkpoint(0, 1))));
  fs::resize_file(directory / "checkpoint-000001.h5", 0);
  BOOST_CHECK_THROW(read_checkpoint(directory.path()), Error);
}

BOOST_AUTO_TEST_CASE(a_run_that_replaces_its_checkpoints_can_be_read_at_any_moment) {
  const TemporaryDirectory directory;
  const std::string run = directory.path();
  write_checkpoint(run, make_checkpoint(0, 1));
  const pid_t writer = ::fork();
  if (writer == 0) {
    for (int round = 2;; ++round) write_checkpoint(run, make_checkpoint(0, round));
  }
  int newest = 1;
  for (int i = 0; i < 300; ++i) {
    const int round = read_checkpoint(run).state.round;
    BOOST_TEST(round >= newest);
    newest = round;
  }
  ::kill(writer, SIGKILL);
  ::waitpid(writer, nullptr, 0);
  BOOST_TEST(newest > 1);
}

BOOST_AUTO_TEST_CASE(what_a_killed_writer_left_is_removed_by_the_next) {
  const TemporaryDirectory directory;
  write_checkpoint(directory.path(), make_checkpoint(0, 1));
  write_bytes(directory / ".checkpoint-000002.h5.part", std::string(100, 'x'));
  fs::create_symlink("checkpoint-000002.h5", directory / ".latest.part");
  BOOST_TEST((bytes_of(read_checkpoint(directory.path())) == bytes_of(make_checkpoint(0, 1))));
  write_checkpoint(directory.path(), make_checkpoint(1, 3));
  BOOST_TEST(listing(directory.path()) == "checkpoint-000001.h5 checkpoint-000003.h5 latest ");
}

BOOST_AUTO_TEST_CASE(a_writer_killed_at_any_moment_leaves_a_whole_checkpoint) {
  const TemporaryDirectory directory;
  const std::string run = directory / "run";
  write_checkpoint(run, make_checkpoint(0, 0));
  Rng rng(5);
  for (int trial = 0; trial < 12; ++trial) {
    const pid_t child = ::fork();
    BOOST_REQUIRE(child >= 0);
    if (child == 0) {
      for (int round = 1;; round = round % 900 + 1) write_checkpoint(run, make_checkpoint(0, round));
    }
    ::usleep(static_cast<useconds_t>(5000 + rng.below(40000)));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    BOOST_TEST(WIFSIGNALED(status));
    const Checkpoint found = read_checkpoint(run + "/latest");
    BOOST_TEST((bytes_of(found) == bytes_of(make_checkpoint(0, found.state.round))));
  }
}

BOOST_AUTO_TEST_CASE(a_directory_that_cannot_be_is_refused_with_the_system_s_reason) {
  const TemporaryDirectory directory;
  write_bytes(directory / "file", "x");
  refused(directory / "file/run", make_checkpoint(0), "Not a directory");
  refused(directory / "file", make_checkpoint(0), "Not a directory");
  refused("/proc/cos2p", make_checkpoint(0), "cannot create the directory");
  refused("/proc", make_checkpoint(0), "");  // exists; nothing can be created there
}

BOOST_AUTO_TEST_CASE(a_write_that_fails_at_any_byte_changes_nothing_and_the_next_one_works) {
  const TemporaryDirectory directory;
  const Checkpoint checkpoint = make_checkpoint(1, 3);
  const auto size = fs::file_size(write_checkpoint(directory / "whole", checkpoint));
  const std::string run = directory / "run";
  write_checkpoint(run, make_checkpoint(0, 1));
  write_checkpoint(run, make_checkpoint(0, 2));
  const std::string before =
      read_bytes(run + "/checkpoint-000001.h5") + read_bytes(run + "/checkpoint-000002.h5");
  for (std::uintmax_t bytes = 0; bytes < size; bytes += size / 97) {
    {
      const FileSizeLimit limit(bytes);
      refused(run, checkpoint, std::strerror(EFBIG));
    }
    BOOST_TEST(listing(run) == "checkpoint-000001.h5 checkpoint-000002.h5 latest ");
  }
  BOOST_TEST(
      (before == read_bytes(run + "/checkpoint-000001.h5") + read_bytes(run + "/checkpoint-000002.h5")));
  BOOST_TEST((bytes_of(read_checkpoint(run)) == bytes_of(make_checkpoint(0, 2))));
  write_checkpoint(run, checkpoint);
  BOOST_TEST((bytes_of(read_checkpoint(run)) == bytes_of(checkpoint)));
}

BOOST_AUTO_TEST_CASE(a_disk_that_fills_up_changes_nothing_and_the_next_write_works) {
  const SmallDisk disk("size=1m");
  if (!disk.mounted()) return;
  const std::string run = disk.directory() / "run", ballast = disk.directory() / "ballast";
  const Checkpoint checkpoint = make_checkpoint(1, 3);
  write_checkpoint(run, make_checkpoint(0, 1));
  write_checkpoint(run, make_checkpoint(0, 2));
  struct statvfs status {};
  BOOST_REQUIRE(::statvfs(run.c_str(), &status) == 0);
  const auto available = static_cast<std::size_t>(status.f_bavail * status.f_frsize);
  int failures = 0;
  bool written = false;
  for (std::size_t left = 0; left < available && !written; left += 4096) {
    write_bytes(ballast, std::string(available - left, 'x'));
    try {
      write_checkpoint(run, checkpoint);
      written = true;
    } catch (const Error& error) {
      BOOST_TEST((error.code() == ExitCode::environment));
      BOOST_TEST_INFO(error.what());
      BOOST_TEST((std::string(error.what()).find(std::strerror(ENOSPC)) != std::string::npos));
      BOOST_TEST(listing(run) == "checkpoint-000001.h5 checkpoint-000002.h5 latest ");
      BOOST_TEST((bytes_of(read_checkpoint(run)) == bytes_of(make_checkpoint(0, 2))));
      ++failures;
    }
    fs::remove(ballast);
  }
  BOOST_TEST(failures > 10);
  BOOST_TEST(written);
  BOOST_TEST((bytes_of(read_checkpoint(run)) == bytes_of(checkpoint)));
}

BOOST_AUTO_TEST_CASE(a_read_only_disk_is_refused) {
  const SmallDisk disk("size=1m");
  if (!disk.mounted()) return;
  write_checkpoint(disk.directory().path(), make_checkpoint(0, 1));
  BOOST_REQUIRE(::mount("tmpfs", disk.directory().path().c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr) ==
                0);
  refused(disk.directory().path(), make_checkpoint(0, 2), std::strerror(EROFS));
  BOOST_TEST((bytes_of(read_checkpoint(disk.directory().path())) == bytes_of(make_checkpoint(0, 1))));
}
