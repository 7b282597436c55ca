#include "compared_run.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "commands.hpp"
#include "cos2p/server/evaluator.hpp"
#include "cos2p/support/error.hpp"
#include "experiment.hpp"
#include "resume.hpp"

namespace cos2p {
namespace {

void add_history(const Checkpoint& checkpoint, ComparedRun& run) {
  const History& history = checkpoint.history;
  double compute_s = 0, waiting_s = 0, updates = 0;
  for (const ClientRow& row : history.clients) {
    run.transferred_bytes += static_cast<double>(row.report.bytes_pulled + row.report.bytes_pushed);
    compute_s += row.report.compute_s;
    waiting_s += row.report.waiting_s;
  }
  run.utilisation = compute_s + waiting_s > 0 ? compute_s / (compute_s + waiting_s) : 1;
  for (const RoundRow& row : history.rounds) {
    run.time_s = row.time_s;
    run.n_star += static_cast<double>(row.n_star) / static_cast<double>(history.rounds.size());
    run.staleness_mean += row.staleness_mean * row.updates;
    updates += row.updates;
  }
  if (updates > 0) run.staleness_mean /= updates;
  double bytes = 0;
  auto client = history.clients.begin();
  for (const EvaluationRow& row : history.evaluations) {
    if (row.block != checkpoint.model.blocks - 1) continue;  // the last exit is the full model's
    for (; client != history.clients.end() && client->time_s <= row.time_s; ++client)
      bytes += static_cast<double>(client->report.bytes_pulled + client->report.bytes_pushed);
    run.curve.push_back({row.round, row.time_s, bytes, row.accuracy, row.loss});
  }
  for (const ClientRecord& record : checkpoint.clients) {
    if (record.measured_memory == 0) continue;  // it took no part
    std::int64_t& peak = run.peak_memory[record.budget];
    peak = std::max(peak, record.measured_memory);
  }
}

/// Accuracy of each exit by class, weighted with the classes of a client's data: what a client may expect on
/// data like its own. A client that took no part in training (--submodel drop) can only be served the full
/// model.
double expected_accuracy(const ClientRecord& record, const std::vector<ExitResult>& exits) {
  const int deepest = record.assignment.takes_part() ? record.assignment.kept_blocks - 1 : exits.back().block;
  const auto own =
      std::find_if(exits.begin(), exits.end(), [&](const ExitResult& exit) { return exit.block == deepest; });
  COS2P_ASSERT(own != exits.end());
  double correct = 0, samples = 0;
  for (std::size_t k = 0; k < record.class_counts.size(); ++k) {
    if (own->class_accuracy[k] < 0) continue;  // no test sample of this class
    correct += own->class_accuracy[k] * static_cast<double>(record.class_counts[k]);
    samples += static_cast<double>(record.class_counts[k]);
  }
  return samples > 0 ? correct / samples : 0;
}

ComparedRun measure(const PlannedRun& planned) {
  const Checkpoint checkpoint = read_checkpoint(planned.directory);
  const Experiment e = make_experiment(planned.command.options, 0, checkpoint.input.vocabulary);
  Evaluator evaluator(*e.table, *e.test, e.options.device, e.options.evaluation_batch);
  const std::vector<ExitResult> exits = evaluator.evaluate(checkpoint.values);
  ComparedRun run;
  run.method = planned.row.label;
  run.seed = planned.seed;
  run.accuracy = exits.back().accuracy;
  run.loss = exits.back().loss;
  for (const ExitResult& exit : exits) {
    run.exit_blocks.push_back(exit.block);
    run.exit_accuracy.push_back(exit.accuracy);
  }
  run.client_accuracy_min = 1;
  for (const ClientRecord& record : checkpoint.clients) {
    const double accuracy = expected_accuracy(record, exits);
    run.client_accuracy.push_back(accuracy);
    run.client_accuracy_mean += accuracy / static_cast<double>(checkpoint.clients.size());
    run.client_accuracy_min = std::min(run.client_accuracy_min, accuracy);
  }
  add_history(checkpoint, run);
  return run;
}

void write_result(const PlannedRun& planned, const ComparedRun& run) {
  const std::string part = planned.result() + ".part";
  std::ofstream file(part);
  file << to_json(run);
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(part, planned.result(), error);
  if (!file || error) {
    fail(ExitCode::environment, "{} cannot be written, make room or choose another directory with --output",
         planned.result());
  }
}

}  // namespace

CommandLine run_command(const CommandLine& compare, const ComparisonRow& row, std::uint64_t seed,
                        const std::string& directory) {
  // Only what was given: the rest is the method's own default, or the option's.
  std::map<std::string, std::string> options;
  for (const auto& [given, value] : compare.given) {
    const std::string name = given == "fleet" ? "budgets" : given;
    if (given == "fleet") options["clients"] = compare.in_effect.at("clients");
    const auto found = compare.in_effect.find(name);
    if (found != compare.in_effect.end()) options[name] = found->second;
  }
  for (const auto& [name, value] : row.overrides) options[name] = toml_text(value);
  options["method"] = toml_text(row.method);
  options["seed"] = std::to_string(seed);
  options["output"] = toml_text(directory);
  options["threads"] = "1";
  options["quiet"] = "true";
  try {
    return parse_options(Subcommand::simulate, to_toml(options));
  } catch (const Error& e) {
    fail(e.code(), "row '{}': {}", row.label, e.what());
  }
}

int execute(const PlannedRun& run) {
  CommandLine command = run.command;
  const std::string latest = run.directory + "/latest";
  bool trained = false;
  if (std::filesystem::exists(std::filesystem::symlink_status(latest))) {
    trained = read_checkpoint(run.directory).state.round >= command.options.rounds;
    command.options.resume = run.directory;
  }
  if (!trained) {
    const int code = run_simulate(command);
    if (code != 0) return code;
  }
  write_result(run, measure(run));
  return static_cast<int>(ExitCode::ok);
}

}  // namespace cos2p
