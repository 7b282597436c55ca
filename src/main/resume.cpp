#include "resume.hpp"

#include <algorithm>
#include <filesystem>

#include "cos2p/server/event_log.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/logging.hpp"

namespace cos2p {

Checkpoint resumed_state(const std::string& path) {
  Checkpoint checkpoint = read_checkpoint(path);
  if (!std::filesystem::is_directory(path)) return checkpoint;
  std::optional<Checkpoint> further = state_after(checkpoint, path);
  if (!further) return checkpoint;
  say(fmt::format("resumed from the event log, in round {}: the newest checkpoint is of round {}",
                  further->state.round, checkpoint.state.round));
  return std::move(*further);
}

CommandLine continue_options(const CommandLine& given, const Checkpoint& checkpoint) {
  std::map<std::string, std::string> merged = checkpoint.identity.options;
  for (const auto& [name, value] : given.given) merged[name] = value;
  if (given.given.count("output") == 0) {
    const std::filesystem::path path(given.options.resume);
    const std::filesystem::path directory = std::filesystem::is_directory(path) ? path : path.parent_path();
    merged["output"] = toml_text(directory.empty() ? "." : directory.string());
  }
  merged["resume"] = toml_text(given.options.resume);
  return parse_options(given.subcommand, to_toml(merged));
}

DatasetOptions evaluation_dataset(const CommandLine& given, const Checkpoint& checkpoint) {
  const DatasetOptions& own = given.options.dataset;
  const auto named = [&given](const char* name) { return given.given.count(name) != 0; };
  if (named("dataset") || checkpoint.identity.options.empty()) return own;
  DatasetOptions dataset =
      parse_options(Subcommand::train, to_toml(checkpoint.identity.options)).options.dataset;
  if (named("data-dir")) dataset.data_dir = own.data_dir;
  if (named("coarse-labels")) dataset.coarse_labels = own.coarse_labels;
  if (named("synthetic-test")) dataset.synthetic_test = own.synthetic_test;
  if (named("synthetic-seed")) dataset.seed = own.seed;
  if (named("limit-test")) dataset.limit_test = own.limit_test;
  return dataset;
}

CommandLine adopt_options(const std::string& server_toml, const CommandLine& given) {
  CommandLine command = parse_options(given.subcommand, server_toml);
  for (const auto& [name, value] : given.given) {
    if (name == "data-dir") command.options.dataset.data_dir = given.options.dataset.data_dir;
    if (name == "device") command.options.device = given.options.device;
    if (name == "threads") command.options.threads = given.options.threads;
    if (name == "quiet") command.options.quiet = given.options.quiet;
  }
  return command;
}

}  // namespace cos2p
