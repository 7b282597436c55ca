#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <thread>

#include "commands.hpp"
#include "compared_run.hpp"
#include "cos2p/support/blas.hpp"
#include "cos2p/support/clock.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/hash.hpp"
#include "signals.hpp"

namespace cos2p {
namespace {

namespace fs = std::filesystem;

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_text(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  if (!file.flush()) {
    fail(ExitCode::environment,
         "{} cannot be written ({}), make room or choose another directory with --output", path,
         std::strerror(errno));
  }
}

/// A row's name as a directory's. File systems take 255 bytes: what is cut off is told apart by a hash.
std::string directory_name(const std::string& label, std::uint64_t seed) {
  constexpr std::size_t kLongest = 180;
  std::string name = label;
  if (name.size() > kLongest)
    name = fmt::format("{}-{:016x}", label.substr(0, kLongest), hash64(label.data(), label.size()));
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && std::strchr("-._=", c) == nullptr) c = '+';
  }
  return fmt::format("{}-seed{}", name, seed);
}

/// The output directory: whose comparison it holds, and that nobody else works in it.
class Workplace {
 public:
  Workplace(const CommandLine& command, const std::vector<ComparisonRow>& rows)
      : directory_(command.options.output), record_(directory_ + "/comparison.toml") {
    std::error_code error;
    fs::create_directories(directory_ + "/runs", error);
    if (error) {
      fail(ExitCode::environment, "--output {} cannot be made ({}), choose a directory that can be written",
           directory_, error.message());
    }
    lock_ = open((directory_ + "/lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666);
    if (lock_ < 0 || flock(lock_, LOCK_EX | LOCK_NB) != 0) {
      fail(ExitCode::usage,
           "--output {} is in use (another cos2p compare works there), wait for it or choose another "
           "directory",
           directory_);
    }
    remember(command, rows);
  }

 private:
  /// What must be the same when the comparison goes on: all options that decide a result, and those in which
  /// a row's runs differ from them ("row LABEL --NAME"), its own and its method's.
  static std::map<std::string, std::string> identity(const CommandLine& command,
                                                     const std::vector<ComparisonRow>& rows) {
    static const std::set<std::string> kFree{"output",   "quiet",           "jobs",
                                             "methods",  "seeds",           "for",
                                             "data-dir", "target-accuracy", "evaluation-batch"};
    static const std::set<std::string> kOfARun{"method", "seed", "threads", "resume"};
    std::map<std::string, std::string> lines;
    for (const auto& [name, value] : command.in_effect) {
      if (kFree.count(name) == 0) lines["--" + name] = value;
    }
    for (const ComparisonRow& compared : rows) {
      const std::string row = "row " + compared.label;
      lines[row] = "compared";
      // Of one seed, whatever seeds are compared: some options follow it.
      for (const auto& [name, value] : run_command(command, compared, 0, command.options.output).in_effect) {
        if (kFree.count(name) != 0 || kOfARun.count(name) != 0) continue;
        const auto shared = command.in_effect.find(name);
        if (shared == command.in_effect.end() || shared->second != value) lines[row + " --" + name] = value;
      }
    }
    return lines;
  }

  /// Rows and seeds may be added later; what is there already must not have changed.
  void remember(const CommandLine& command, const std::vector<ComparisonRow>& rows) const {
    constexpr const char* kBetween = " = ";
    const std::map<std::string, std::string> now = identity(command, rows);
    std::map<std::string, std::string> before;
    if (fs::exists(record_)) {
      std::ifstream file(record_);
      for (std::string line; std::getline(file, line);) {
        const std::size_t place = line.find(kBetween);
        if (place != std::string::npos) before[line.substr(0, place)] = line.substr(place + 3);
      }
    } else if (!fs::is_empty(directory_ + "/runs") ||
               fs::exists(fs::symlink_status(directory_ + "/latest"))) {
      fail(ExitCode::usage, "--output {} holds something else than a comparison, choose another directory",
           directory_);
    }
    std::map<std::string, std::string> all = now;
    all.insert(before.begin(), before.end());
    for (const auto& [name, value] : all) {
      const std::string was = value_in(before, name), is = value_in(now, name);
      if (was == is || !must_be_same(name, before, now)) continue;
      fail(ExitCode::usage,
           "--output {} holds a comparison with other options ({} was {}, now it is {}), give the same ones "
           "to "
           "go on or choose another directory",
           directory_, name, was, is);
    }
    std::string text;
    for (const auto& [name, value] : all) text += name + kBetween + value + "\n";
    write_text(record_, text);
  }

  static std::string value_in(const std::map<std::string, std::string>& lines, const std::string& name) {
    const auto found = lines.find(name);
    if (found != lines.end()) return found->second;
    return name.rfind("row ", 0) == 0 ? "as for all rows" : "not given";
  }

  /// Of a row, only where it has been compared and is to be again; of all, what had a value before.
  static bool must_be_same(const std::string& line, const std::map<std::string, std::string>& before,
                           const std::map<std::string, std::string>& now) {
    if (line.rfind("row ", 0) != 0) return before.count(line) != 0;
    const std::string row = line.substr(0, line.find(" --"));
    return before.count(row) != 0 && now.count(row) != 0;
  }

  std::string directory_, record_;
  int lock_ = -1;  ///< for the life of the process
};

/// How far the runs are, for people: a bar with the time left on a terminal, a line per finished run
/// elsewhere.
class Progress {
 public:
  Progress(const std::vector<PlannedRun>& runs, bool quiet)
      : runs_(runs),
        quiet_(quiet),
        terminal_(!quiet && isatty(STDOUT_FILENO) != 0),
        begun_s_(monotonic_seconds()) {
    for (const PlannedRun& run : runs) at_start_.push_back(share(run));
  }
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void line(const std::string& text) {
    if (quiet_) return;
    clear();
    fmt::print("{}\n", text);
    std::fflush(stdout);
  }
  void draw(int finished, int running) {
    if (!terminal_) return;
    constexpr int kWidth = 32;
    double done = 0, now = 0;
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      const double each = share(runs_[i]);
      now += each;
      done += each - at_start_[i];
    }
    const double elapsed_s = monotonic_seconds() - begun_s_, total = static_cast<double>(runs_.size());
    std::string left;
    if (done > 0.01) left = fmt::format(", {} left", duration(elapsed_s / done * (total - now)));
    const int bar = std::min(kWidth, static_cast<int>(kWidth * now / total));
    clear();
    fmt::print("[{:#<{}}{:.<{}}] {} of {} runs, {} at work{}", "", bar, "", kWidth - bar, finished,
               runs_.size(), running, left);
    std::fflush(stdout);
  }

 private:
  static std::string duration(double seconds) {
    if (seconds < 120) return fmt::format("{:.0f} s", seconds);
    return seconds < 7200 ? fmt::format("{:.0f} min", seconds / 60) : fmt::format("{:.1f} h", seconds / 3600);
  }
  /// Of a run's rounds that are done.
  static double share(const PlannedRun& run) {
    if (fs::exists(run.result())) return 1;
    const std::string text = read_text(run.directory + "/metrics.csv");
    const auto lines = static_cast<double>(std::count(text.begin(), text.end(), '\n'));
    return std::min(0.99, std::max(0.0, lines - 1) / run.command.options.rounds);
  }
  void clear() const {
    if (terminal_) fmt::print("\r\033[K");
  }

  const std::vector<PlannedRun>& runs_;
  bool quiet_, terminal_;
  double begun_s_;
  std::vector<double> at_start_;
};

/// The child process of a run; ends with the run's exit code.
[[noreturn]] void be_child(const PlannedRun& run) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // no run without its comparison
  setpgid(0, 0);                     // Ctrl-C is the parent's affair
  std::error_code ignored;
  fs::create_directories(run.directory, ignored);
  const int output = open((run.directory + "/output.txt").c_str(), O_CREAT | O_WRONLY | O_APPEND, 0666);
  if (output >= 0) {
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
  }
  int code = static_cast<int>(ExitCode::internal);
  try {
    code = execute(run);
  } catch (const Error& e) {
    fmt::print("cos2p: {}\n", e.what());
    code = static_cast<int>(e.code());
  } catch (const std::exception& e) {
    fmt::print("cos2p: {}\n", e.what());
  }
  std::fflush(stdout);
  _exit(code);
}

/// Runs everything that is not done yet, `jobs` at a time.
class Executor {
 public:
  Executor(const std::vector<PlannedRun>& runs, int jobs, Progress& progress)
      : runs_(runs), jobs_(jobs), progress_(progress) {}
  ~Executor() { kill_all(); }
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  /// The exit code of the first run that failed; 0 where none did.
  int run() {
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      if (fs::exists(runs_[i].result())) {
        ++finished_;
      } else {
        waiting_.push_back(i);
      }
    }
    if (finished_ > 0) progress_.line(fmt::format("{} of {} runs are done already", finished_, runs_.size()));
    std::reverse(waiting_.begin(), waiting_.end());
    while (!stop_requested() && (!waiting_.empty() || !running_.empty())) {
      while (static_cast<int>(running_.size()) < jobs_ && !waiting_.empty()) start();
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      look();
      progress_.draw(finished_, static_cast<int>(running_.size()));
    }
    return code_;
  }

 private:
  std::string name(std::size_t run) const {
    return fmt::format("{} seed {}", runs_[run].row.label, runs_[run].seed);
  }

  void start() {
    const std::size_t run = waiting_.back();
    waiting_.pop_back();
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) be_child(runs_[run]);
    if (child < 0) {
      fail(ExitCode::environment, "a process for a run cannot be started ({}), give a smaller --jobs",
           std::strerror(errno));
    }
    running_[child] = run;
  }

  void look() {
    int status = 0;
    for (pid_t child = waitpid(-1, &status, WNOHANG); child > 0; child = waitpid(-1, &status, WNOHANG)) {
      const auto found = running_.find(child);
      if (found == running_.end()) continue;
      const std::size_t run = found->second;
      running_.erase(found);
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && fs::exists(runs_[run].result())) {
        ++finished_;
        const ComparedRun result =
            compared_run_from_json(read_text(runs_[run].result()), runs_[run].result());
        progress_.line(fmt::format("{}: accuracy {:.2f} %, {:.1f} simulated s ({} of {} runs)", name(run),
                                   100 * result.accuracy, result.time_s, finished_, runs_.size()));
        continue;
      }
      report_failure(run, status);
    }
  }

  void report_failure(std::size_t run, int status) {
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : static_cast<int>(ExitCode::internal);
    if (code_ == 0) code_ = code == 0 ? static_cast<int>(ExitCode::internal) : code;
    const std::string output = runs_[run].directory + "/output.txt";
    std::string text = read_text(output);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    const std::size_t line = text.rfind('\n');
    spdlog::error("{} failed ({}): {}; {} has all that it said", name(run),
                  WIFSIGNALED(status) ? fmt::format("killed by signal {}", WTERMSIG(status))
                                      : fmt::format("exit code {}", code),
                  line == std::string::npos ? text : text.substr(line + 1), output);
  }

  /// A run's last checkpoint is whole at any time, and it goes on from there to the same bits: nothing is
  /// gained by waiting for it.
  void kill_all() {
    for (const auto& [child, run] : running_) kill(child, SIGKILL);
    for (const auto& [child, run] : running_) waitpid(child, nullptr, 0);
    running_.clear();
  }

  const std::vector<PlannedRun>& runs_;
  int jobs_;
  Progress& progress_;
  std::vector<std::size_t> waiting_;
  std::map<pid_t, std::size_t> running_;
  int finished_ = 0, code_ = 0;
};

std::vector<PlannedRun> plan_runs(const CommandLine& command, const std::vector<ComparisonRow>& rows) {
  std::vector<PlannedRun> runs;
  std::set<std::string> directories;
  // Seed by seed, so that a comparison that is stopped early has whole seeds.
  for (const std::uint64_t seed : command.options.comparison.seeds) {
    for (const ComparisonRow& row : rows) {
      PlannedRun run;
      run.row = row;
      run.seed = seed;
      run.directory = command.options.output + "/runs/" + directory_name(row.label, seed);
      if (!directories.insert(run.directory).second)
        fail(ExitCode::usage, "--methods: '{}' is too like another row, write its values otherwise",
             row.label);
      run.command = run_command(command, row, seed, run.directory);
      runs.push_back(std::move(run));
    }
  }
  return runs;
}

/// The tables, of the runs that are done, row by row.
void write_tables(const CommandLine& command, const std::vector<ComparisonRow>& rows,
                  const std::vector<PlannedRun>& runs) {
  const ComparisonOptions& options = command.options.comparison;
  std::vector<ComparedRun> results;
  for (const ComparisonRow& row : rows) {
    for (const PlannedRun& run : runs) {
      if (run.row.label != row.label || !fs::exists(run.result())) continue;
      results.push_back(compared_run_from_json(read_text(run.result()), run.result()));
      results.back().options = run.command.in_effect;
      measure_target(results.back(), options.target_accuracy);
    }
  }
  const std::string& directory = command.options.output;
  write_comparison(directory + "/compare.h5", command.in_effect, options.target_accuracy, results);
  write_text(directory + "/compare.csv", comparison_csv(results));
  const std::string table = comparison_markdown(results, options.target_accuracy);
  write_text(directory + "/compare.md", table);
  fmt::print("\n{}\n{}/compare.md, compare.csv and compare.h5 have all of it\n", table, directory);
  std::fflush(stdout);
}

}  // namespace

int run_compare(const CommandLine& command) {
  const ComparisonOptions& options = command.options.comparison;
  const std::vector<ComparisonRow> rows = comparison_rows(options);
  const std::vector<PlannedRun> runs = plan_runs(command, rows);
  const Workplace workplace(command, rows);
  install_signal_handlers(false);
  int code = 0;
  {
    Progress progress(runs, command.options.quiet);
    code = Executor(runs, options.jobs > 0 ? options.jobs : usable_cores(), progress).run();
  }
  write_tables(command, rows, runs);
  if (stop_requested()) fmt::print("stopped on request; the same command goes on\n");
  return code;
}

}  // namespace cos2p
