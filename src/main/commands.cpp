#include "commands.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cos2p/server/evaluator.hpp"
#include "cos2p/support/error.hpp"
#include "experiment.hpp"
#include "resume.hpp"

namespace cos2p {

int run_plan(const CommandLine& command) {
  const RunOptions& options = command.options;
  const ModelOptions& shape = options.model;
  const SegmentTable table(
      shape.reads_texts()
          ? complete_text_model(options, shape.vocabulary, shape.classes)
          : complete_model(options, shape.image_height, shape.image_width, shape.channels, shape.classes));
  const TrainingShape training =
      training_shape(options.local, pushed_kind(options.policy, options.local.push_dtype));
  std::vector<ClientBudget> budgets;
  for (const std::string& text : options.budgets)
    budgets.push_back(parse_budget(text, table, training, "--memory-budget"));
  const int clients = options.clients > 0
                          ? options.clients
                          : static_cast<int>(std::max(budgets.size(), options.compute_budgets.size()));
  limit_compute(budgets, options.compute_budgets, table, training);
  const FleetPlan plan = plan_fleet(table, training, budgets, clients, options.fleet);
  fmt::print("{}\n", options.json ? fleet_json(table, plan) : fleet_table(table, plan));
  return 0;
}

int run_inspect(const CommandLine& command) {
  const Checkpoint checkpoint = read_checkpoint(command.options.file);
  fmt::print("{}\n", command.options.json ? inspect_json(checkpoint, command.options.file)
                                          : inspect_text(checkpoint, command.options.file));
  return 0;
}

int run_evaluate(const CommandLine& command) {
  const RunOptions& options = command.options;
  const Checkpoint checkpoint = read_checkpoint(options.file);
  const std::unique_ptr<Samples> test = load_test_samples(evaluation_dataset(command, checkpoint),
                                                          checkpoint.input, checkpoint.model, options.file);
  const SegmentTable table(checkpoint.model);
  Evaluator evaluator(table, *test, options.device, options.evaluation_batch);
  const std::vector<ExitResult> exits = evaluator.evaluate(checkpoint.values);
  if (options.json) {
    nlohmann::ordered_json json;
    json["accuracy"] = exits.back().accuracy;
    json["loss"] = exits.back().loss;
    json["exits"] = nlohmann::ordered_json::array();
    for (const ExitResult& exit : exits)
      json["exits"].push_back({{"block", exit.block}, {"accuracy", exit.accuracy}, {"loss", exit.loss}});
    json["file"] = options.file;
    json["dataset"] = test->set().name;
    json["samples"] = test->size();
    json["round"] = checkpoint.state.round;
    fmt::print("{}\n", json.dump(2));
    return 0;
  }
  std::vector<EvaluationRow> rows;
  for (const ExitResult& exit : exits)
    rows.push_back({checkpoint.state.round, exit.block, 0, exit.loss, exit.accuracy});
  fmt::print("{}: {} test samples of {}, after round {}\n", options.file, test->size(), test->set().name,
             checkpoint.state.round);
  print_exits(rows);
  return 0;
}

}  // namespace cos2p
