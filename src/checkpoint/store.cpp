// A run's directory of checkpoints: names, the order of the steps that make a write safe against crashes,
// retention, fallback.
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <system_error>

#include "cos2p/support/bytes.hpp"
#include "cos2p/support/logging.hpp"
#include "h5.hpp"
#include "tables.hpp"

namespace cos2p {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLatest = "latest";
constexpr const char* kLatestPart = ".latest.part";
const std::string kPrefix = "checkpoint-";
const std::string kSuffix = ".h5";
const std::string kPartSuffix = ".h5.part";

[[noreturn]] void fail_environment(const char* action, const std::string& path, int error) {
  fail(ExitCode::environment, "cannot {} '{}' ({}), free space or choose another --output", action, path,
       std::strerror(error));
}

std::string joined(const std::string& directory, const std::string& name) {
  return fmt::format("{}/{}", directory, name);
}

/// Round of "checkpoint-000012.h5"; -1 for every other name.
long long round_of(const std::string& name) {
  if (name.size() < kPrefix.size() + kSuffix.size() + 6 || name.compare(0, kPrefix.size(), kPrefix) != 0 ||
      name.compare(name.size() - kSuffix.size(), kSuffix.size(), kSuffix) != 0) {
    return -1;
  }
  const std::string digits = name.substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size());
  const bool number =
      std::all_of(digits.begin(), digits.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
  return number && digits.size() < 18 ? std::stoll(digits) : -1;
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  return names;
}

/// Checkpoints of a directory, the newest first: by round.
std::vector<std::string> checkpoints_in(const std::string& directory) {
  std::vector<std::string> names = names_in(directory);
  names.erase(
      std::remove_if(names.begin(), names.end(), [](const std::string& n) { return round_of(n) < 0; }),
      names.end());
  std::sort(names.begin(), names.end(),
            [](const auto& a, const auto& b) { return round_of(a) > round_of(b); });
  return names;
}

/// Name that `latest` leads to; empty where there is none.
std::string latest_in(const std::string& directory) {
  std::error_code error;
  const fs::path target = fs::read_symlink(fs::path(directory) / kLatest, error);
  return error ? "" : target.string();
}

/// Parts that a killed run left. Only one process writes into a run's directory.
void remove_parts(const std::string& directory) {
  for (const std::string& name : names_in(directory)) {
    const bool part = name.compare(0, kPrefix.size() + 1, "." + kPrefix) == 0 &&
                      name.size() > kPartSuffix.size() &&
                      name.compare(name.size() - kPartSuffix.size(), kPartSuffix.size(), kPartSuffix) == 0;
    if (part || name == kLatestPart) ::unlink(joined(directory, name).c_str());
  }
}

/// Refuses early what cannot fit, instead of filling the disk first. A lower bound: quotas show only in the
/// write itself.
void check_space(const std::string& directory, const Checkpoint& checkpoint) {
  double needed = 0;
  for (const auto& values : checkpoint.values) needed += static_cast<double>(values.size() * sizeof(float));
  struct statvfs status {};
  if (::statvfs(directory.c_str(), &status) != 0 || status.f_blocks == 0)
    return;  // some file systems do not tell
  const double available = static_cast<double>(status.f_bavail) * static_cast<double>(status.f_frsize);
  if (available < needed) {
    fail(ExitCode::environment,
         "cannot write a checkpoint of at least {} to '{}' ({}: {} free), free space or choose another "
         "--output",
         format_bytes(needed), directory, std::strerror(ENOSPC), format_bytes(available));
  }
}

/// fsync by name: after HDF5 has closed the file, and for the directory whose entries changed.
void sync_path(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_environment("open", path, errno);
  const int error = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  if (error != 0 && error != EINVAL && error != ENOTSUP)
    fail_environment("sync", path, error);  // these two: not known there
}

/// False, with a warning, on file systems without symbolic links (memory cards): read_checkpoint() does
/// without, too.
bool make_link(const std::string& target, const std::string& link) {
  if (::symlink(target.c_str(), link.c_str()) == 0) return true;
  if (errno != EPERM && errno != ENOTSUP && errno != ENOSYS)
    fail_environment("create the symbolic link", link, errno);
  spdlog::warn("no symbolic link '{}' ({}), the newest checkpoint is {}", kLatest, std::strerror(errno),
               target);
  return false;
}

/// Keeps `newest` and the one before it: what `latest` led to, else the highest round beside it. So a run
/// started anew in a directory with older checkpoints of higher rounds does not remove its own.
void remove_old(const std::string& directory, const std::string& newest, std::string previous) {
  const std::vector<std::string> names = checkpoints_in(directory);
  if (previous == newest || std::find(names.begin(), names.end(), previous) == names.end()) {
    const auto other =
        std::find_if(names.begin(), names.end(), [&](const std::string& name) { return name != newest; });
    previous = other == names.end() ? "" : *other;
  }
  for (const std::string& name : names) {
    if (name == newest || name == previous) continue;
    const std::string path = joined(directory, name);
    if (::unlink(path.c_str()) != 0)
      spdlog::warn("old checkpoint '{}' cannot be removed ({})", path, std::strerror(errno));
  }
}

/// Removes a file of an unfinished write, unless that became a whole one.
class Unfinished {
 public:
  explicit Unfinished(std::string path) : path_(std::move(path)) {}
  ~Unfinished() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;
  Unfinished(Unfinished&&) = delete;
  Unfinished& operator=(Unfinished&&) = delete;
  void finished() { path_.clear(); }

 private:
  std::string path_;
};

}  // namespace

std::string write_checkpoint(const std::string& directory, const Checkpoint& checkpoint) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) fail_environment("create the directory", directory, error.value());
  remove_parts(directory);
  check_space(directory, checkpoint);
  const std::string previous = latest_in(directory);
  const std::string name = fmt::format("{}{:06d}{}", kPrefix, checkpoint.state.round, kSuffix);
  std::string path = joined(directory, name);
  const std::string part =
      joined(directory, fmt::format(".{}{:06d}{}", kPrefix, checkpoint.state.round, kPartSuffix));
  const std::string link = joined(directory, kLatest), link_part = joined(directory, kLatestPart);

  Unfinished part_guard(part), link_guard(link_part);
  {
    const h5::Session session;
    write_file(part, checkpoint);
  }
  sync_path(part, 0);
  // The link is made before anything is renamed: whatever needs space comes first, and after it nothing can
  // fail for lack of it.
  const bool linked = make_link(name, link_part);
  if (::rename(part.c_str(), path.c_str()) != 0)
    fail_environment("rename the new checkpoint to", path, errno);
  part_guard.finished();
  if (linked && ::rename(link_part.c_str(), link.c_str()) != 0)
    fail_environment("replace the symbolic link", link, errno);
  link_guard.finished();
  sync_path(directory, O_DIRECTORY);
  remove_old(directory, name, previous);
  return path;
}

void write_checkpoint_file(const std::string& path, const Checkpoint& checkpoint) {
  const std::string part = path + ".part";
  Unfinished guard(part);
  {
    const h5::Session session;
    write_file(part, checkpoint);
  }
  sync_path(part, 0);
  if (::rename(part.c_str(), path.c_str()) != 0)
    fail_environment("rename the new checkpoint to", path, errno);
  guard.finished();
}

namespace {

/// Of the newest checkpoint that can be read; nothing where one that was listed is gone: a run that goes on
/// replaces its checkpoints.
std::optional<Checkpoint> read_newest(const std::string& path) {
  std::vector<std::string> names = checkpoints_in(path);
  if (names.empty()) {
    fail(ExitCode::checkpoint,
         "directory '{}' holds no checkpoint (no file {}NNNNNN{}), give the output directory of a run", path,
         kPrefix, kSuffix);
  }
  const auto latest = std::find(names.begin(), names.end(), latest_in(path));
  if (latest != names.end()) std::rotate(names.begin(), latest, latest + 1);
  for (std::size_t i = 0;; ++i) {
    const std::string file = (fs::path(path) / names[i]).string();
    try {
      return read_file(file);
    } catch (const Error& problem) {
      std::error_code error;
      if (!fs::exists(file, error)) return std::nullopt;
      if (problem.code() != ExitCode::checkpoint || i + 1 == names.size()) throw;
      spdlog::warn("{}; going back to {}", problem.what(), names[i + 1]);
    }
  }
}

}  // namespace

Checkpoint read_checkpoint(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return read_file(path);
  constexpr int kAttempts = 100;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (std::optional<Checkpoint> checkpoint = read_newest(path)) return std::move(*checkpoint);
  }
  fail(ExitCode::checkpoint,
       "directory '{}' cannot be read (its checkpoints were replaced {} times meanwhile), give one of its "
       "files",
       path, kAttempts);
}

}  // namespace cos2p
