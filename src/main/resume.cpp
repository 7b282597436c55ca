#include "resume.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>

#include "cos2p/support/error.hpp"

namespace cos2p {
namespace {

/// Parses options that another process, or an earlier run, had in effect.
CommandLine parse_recorded(Subcommand subcommand, const std::string& toml) {
  std::string path = (std::filesystem::temp_directory_path() / "cos2p-options-XXXXXX").string();
  const int file = mkstemp(path.data());
  if (file < 0 || write(file, toml.data(), toml.size()) != static_cast<ssize_t>(toml.size())) {
    fail(ExitCode::environment,
         "{} cannot be written (recorded options are read through it), make room or set TMPDIR", path);
  }
  close(file);
  const std::string name = to_string(subcommand);
  const std::array<const char*, 4> argv{"cos2p", name.c_str(), "--config", path.c_str()};
  bool finished = false;
  try {
    CommandLine command = parse_command_line(static_cast<int>(argv.size()), argv.data(), finished);
    std::filesystem::remove(path);
    return command;
  } catch (...) {
    std::filesystem::remove(path);
    throw;
  }
}

}  // namespace

CommandLine continue_options(const CommandLine& given, const Checkpoint& checkpoint) {
  std::map<std::string, std::string> merged = checkpoint.identity.options;
  for (const std::string& name : given.given) {
    const auto found = given.in_effect.find(name);
    if (found != given.in_effect.end()) merged[name] = found->second;
  }
  if (std::find(given.given.begin(), given.given.end(), "output") == given.given.end()) {
    const std::filesystem::path path(given.options.resume);
    const std::filesystem::path directory = std::filesystem::is_directory(path) ? path : path.parent_path();
    merged["output"] = toml_text(directory.empty() ? "." : directory.string());
  }
  merged["resume"] = toml_text(given.options.resume);
  return parse_recorded(given.subcommand, to_toml(merged));
}

DatasetOptions evaluation_dataset(const CommandLine& given, const Checkpoint& checkpoint) {
  const DatasetOptions& own = given.options.dataset;
  const auto named = [&given](const char* name) {
    return std::find(given.given.begin(), given.given.end(), name) != given.given.end();
  };
  if (named("dataset") || checkpoint.identity.options.empty()) return own;
  DatasetOptions dataset =
      parse_recorded(Subcommand::train, to_toml(checkpoint.identity.options)).options.dataset;
  if (named("data-dir")) dataset.data_dir = own.data_dir;
  if (named("coarse-labels")) dataset.coarse_labels = own.coarse_labels;
  if (named("synthetic-test")) dataset.synthetic_test = own.synthetic_test;
  if (named("synthetic-seed")) dataset.seed = own.seed;
  if (named("limit-test")) dataset.limit_test = own.limit_test;
  return dataset;
}

CommandLine adopt_options(const std::string& server_toml, const CommandLine& given) {
  CommandLine command = parse_recorded(given.subcommand, server_toml);
  for (const std::string& name : given.given) {
    if (name == "data-dir") command.options.dataset.data_dir = given.options.dataset.data_dir;
    if (name == "device") command.options.device = given.options.device;
    if (name == "threads") command.options.threads = given.options.threads;
    if (name == "quiet") command.options.quiet = given.options.quiet;
  }
  return command;
}

}  // namespace cos2p
