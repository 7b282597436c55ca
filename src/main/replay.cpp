#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "commands.hpp"
#include "cos2p/server/event_log.hpp"
#include "cos2p/support/bytes.hpp"
#include "cos2p/support/error.hpp"

namespace cos2p {
namespace {

/// Whether the newest checkpoint holds the model that the replay came to when it was made (which may have
/// gone on since, in the same round): "the same", "another", or "" where this part made none of its round.
std::string compared_with_latest(const std::string& directory, const ReplayResult& result) {
  std::error_code error;
  if (!std::filesystem::exists(directory + "/latest", error)) return "";
  const Checkpoint latest = read_checkpoint(directory);
  const std::uint64_t hash = model_hash(latest);
  std::string verdict;
  for (const ReplayResult::Snapshot& snapshot : result.snapshots) {
    if (snapshot.round != latest.state.round) continue;
    if (snapshot.model_hash == hash) return "the same";
    verdict = "another";
  }
  return verdict;
}

}  // namespace

int run_replay(const CommandLine& command) {
  const std::string& directory = command.options.file;
  const int wanted = command.options.part;
  std::vector<int> parts = event_parts(directory);
  const int newest = parts.empty() ? 0 : parts.back();
  if (parts.empty()) {
    fail(ExitCode::checkpoint,
         "{} holds no event log (no events/part-NNNN.log), give the output directory of a run with "
         "--event-log",
         directory);
  }
  if (wanted > 0) {
    if (std::find(parts.begin(), parts.end(), wanted) == parts.end())
      fail(ExitCode::usage, "--part cannot be {} ({} holds parts {} to {}), see cos2p replay --help", wanted,
           directory, parts.front(), parts.back());
    parts = {wanted};
  }
  auto json = nlohmann::ordered_json::array();
  bool same = true;
  for (const int part : parts) {
    const ReplayResult result = replay_part(directory, part);
    const std::string latest =
        part == newest && result.difference.empty() ? compared_with_latest(directory, result) : "";
    same = same && result.difference.empty() && latest != "another";
    json.push_back({{"part", part},
                    {"messages", result.messages},
                    {"merges", result.merges},
                    {"rounds", result.rounds},
                    {"checkpoints", result.snapshots.size()},
                    {"round", result.end.state.round},
                    {"model", fmt::format("{:016x}", model_hash(result.end))},
                    {"unread_bytes", result.unread_bytes},
                    {"latest", latest},
                    {"difference", result.difference}});
    if (command.options.json) continue;
    fmt::print("part {}: {} messages, {} merges, {} rounds, {} checkpoints: {}\n", part, result.messages,
               result.merges, result.rounds, result.snapshots.size(),
               result.difference.empty() ? "the same bits" : "NOT the same");
    if (!result.difference.empty()) fmt::print("  {}\n", result.difference);
    if (result.unread_bytes > 0)
      fmt::print("  {} after the last whole record were not read (the server ended while it wrote)\n",
                 format_bytes(static_cast<double>(result.unread_bytes)));
    if (part == parts.back())
      fmt::print("model after round {}: {:016x}{}\n", result.end.state.round, model_hash(result.end),
                 latest.empty() ? "" : fmt::format("; the newest checkpoint holds {}", latest));
  }
  if (command.options.json) fmt::print("{}\n", json.dump(2));
  if (!same)
    fail(ExitCode::checkpoint,
         "the replay of {} came out otherwise than recorded (see above), keep the directory and report it",
         directory);
  return static_cast<int>(ExitCode::ok);
}

}  // namespace cos2p
