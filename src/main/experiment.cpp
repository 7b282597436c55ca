#include "experiment.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <random>

#include "cos2p/model/initial_values.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/narrow.hpp"
#include "cos2p/transport/model_store.hpp"
#include "version.hpp"

namespace cos2p {

ModelOptions complete_model(const RunOptions& options, int height, int width, int channels, int classes) {
  ModelOptions model = options.model;
  model.image_height = height;
  model.image_width = width;
  model.channels = channels;
  model.classes = classes;
  if (!options.patch_given) {
    // The finest patches that keep attention cheap: at most 64 of them, or 16x16 where pictures are large.
    constexpr int kMostPatches = 64;
    model.patch = 16;
    for (int side = std::min(height, width); side >= 2; --side) {
      if (height % side == 0 && width % side == 0 && (height / side) * (width / side) <= kMostPatches)
        model.patch = side;
    }
  }
  model.validate();
  return model;
}

TrainingShape training_shape(const RunOptions& options) {
  TrainingShape shape;
  shape.batch_size = options.local.batch_size;
  shape.optimizer = options.local.optimizer;
  shape.momentum = options.local.momentum > 0;
  return shape;
}

Experiment make_experiment(const RunOptions& options, int workers) {
  Experiment e;
  e.options = options;
  e.dataset = load_dataset(options.dataset);
  const ImageSet& train = e.dataset.train;
  e.model = complete_model(options, train.height, train.width, train.channels, train.classes);
  e.table = std::make_unique<SegmentTable>(e.model);
  e.training = training_shape(options);
  e.clients =
      options.clients > 0 ? options.clients : (workers > 0 ? workers : narrow<int>(options.budgets.size()));
  if (workers > e.clients) {
    fail(ExitCode::usage,
         "--clients {}: fewer clients than the {} workers (a worker would have nothing to do), start {} "
         "ranks or give more clients",
         e.clients, workers, e.clients + 1);
  }
  e.partition = make_partition(train.labels, train.classes, e.clients, options.partition);
  e.normalization = measure_normalization(train);
  std::vector<ClientBudget> budgets;
  for (const std::string& text : options.budgets)
    budgets.push_back(parse_budget(text, *e.table, e.training, "--budgets"));
  e.fleet = plan_fleet(*e.table, e.training, budgets, e.clients, options.balance, options.frozen_blocks);
  return e;
}

std::vector<ClientRecord> client_records(const Experiment& e) {
  std::vector<ClientRecord> records(static_cast<std::size_t>(e.clients));
  for (std::size_t c = 0; c < records.size(); ++c) {
    ClientRecord& record = records[c];
    record.budget = e.fleet.budgets[c].text;
    record.assignment = e.fleet.assignments[c];
    record.memory_budget = e.fleet.budgets[c].memory;
    record.predicted_memory = e.fleet.costs[c].memory.total();
    record.samples = narrow<std::int64_t>(e.partition[c].size());
    record.class_counts.assign(static_cast<std::size_t>(e.model.classes), 0);
    for (std::int64_t sample : e.partition[c])
      ++record
            .class_counts[static_cast<std::size_t>(e.dataset.train.labels[static_cast<std::size_t>(sample)])];
  }
  return records;
}

RunIdentity make_identity(const Experiment& e, const std::map<std::string, std::string>& in_effect,
                          const Checkpoint* resumed) {
  RunIdentity identity;
  if (resumed != nullptr) {
    identity.run_id = resumed->identity.run_id;
  } else {
    std::random_device device;
    identity.run_id = fmt::format("{:08x}{:08x}", device(), device());
  }
  identity.program_version = kVersion;
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  identity.created = text;
  identity.dataset = e.dataset.train.name;
  identity.options = in_effect;
  return identity;
}

void check_resumable(const Checkpoint& checkpoint, const Experiment& e, const std::string& path) {
  const auto refuse = [&](const std::string& what, const std::string& there, const std::string& here) {
    fail(ExitCode::checkpoint,
         "{} cannot be resumed: its {} is {}, this run's is {}; give the options of the run that wrote it",
         path, what, there, here);
  };
  const auto shape = [](const ModelOptions& m) {
    return fmt::format("{}x{}x{} patch {} dim {} blocks {} heads {} feed-forward {} classes {} exits {}",
                       m.image_height, m.image_width, m.channels, m.patch, m.dim, m.blocks, m.heads,
                       m.feed_forward, m.classes, m.exits.size());
  };
  if (!(checkpoint.model == e.model)) refuse("model", shape(checkpoint.model), shape(e.model));
  if (checkpoint.identity.dataset != e.dataset.train.name)
    refuse("data set", checkpoint.identity.dataset, e.dataset.train.name);
  if (checkpoint.state.seed != e.options.seed)
    refuse("--seed", std::to_string(checkpoint.state.seed), std::to_string(e.options.seed));
  if (checkpoint.clients.size() != static_cast<std::size_t>(e.clients)) {
    refuse("number of clients", std::to_string(checkpoint.clients.size()), std::to_string(e.clients));
  }
  const std::vector<ClientRecord> records = client_records(e);
  for (std::size_t c = 0; c < records.size(); ++c) {
    if (!(records[c].assignment == checkpoint.clients[c].assignment)) {
      refuse(fmt::format("submodel of client {}", c), checkpoint.clients[c].budget, records[c].budget);
    }
    if (records[c].class_counts != checkpoint.clients[c].class_counts) {
      refuse(fmt::format("data of client {}", c),
             fmt::format("{} samples partitioned otherwise", checkpoint.clients[c].samples),
             fmt::format("{} samples", records[c].samples));
    }
  }
  if (checkpoint.state.round >= e.options.rounds) {
    fail(ExitCode::usage,
         "{} already has {} rounds and --rounds is {} (nothing is left to do), give a larger --rounds", path,
         checkpoint.state.round, e.options.rounds);
  }
}

void initialize(ModelStore& store, const SegmentTable& table, std::uint64_t seed) {
  for (const Segment& segment : table) store.restore(segment.id, initial_values(segment, seed), 0);
}

void prepare_output(const std::string& directory, const std::map<std::string, std::string>& in_effect,
                    bool resuming) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) {
    fail(ExitCode::environment, "--output {} cannot be made ({}), choose a directory that can be written",
         directory, error.message());
  }
  if (!resuming && std::filesystem::exists(std::filesystem::symlink_status(directory + "/latest"))) {
    fail(ExitCode::usage,
         "--output {} holds the checkpoints of an earlier run (a new run would mix with it), go on with "
         "--resume {} or choose another directory",
         directory, directory);
  }
  std::ofstream options(directory + "/options.toml");
  options << to_toml(in_effect);
  if (!options.flush()) {
    fail(ExitCode::environment, "--output {} cannot be written ({}), choose another directory or make room",
         directory, std::generic_category().message(errno));
  }
}

void print_exits(const std::vector<EvaluationRow>& evaluation) {
  fmt::print("\n exit after block   accuracy      loss\n");
  for (const EvaluationRow& row : evaluation)
    fmt::print(" {:>16}   {:>6.2f} %   {:>7.4f}\n", row.block, 100 * row.accuracy, row.loss);
  if (!evaluation.empty())
    fmt::print("test accuracy of the full model: {:.2f} %\n", 100 * evaluation.back().accuracy);
}

void print_result(const std::vector<EvaluationRow>& evaluation, const std::string& checkpoint) {
  print_exits(evaluation);
  fmt::print("checkpoint: {}\n", checkpoint.empty() ? "none could be written" : checkpoint);
  std::fflush(stdout);
}

}  // namespace cos2p
