#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cos2p/checkpoint/checkpoint.hpp"
#include "cos2p/config/run_options.hpp"
#include "cos2p/data/dataset.hpp"
#include "cos2p/data/partition.hpp"
#include "cos2p/data/samples.hpp"
#include "cos2p/plan/planner.hpp"
#include "cos2p/support/error.hpp"

namespace cos2p {

/// All that a training run is made of before anybody trains, built from the options alone: every rank builds
/// the same one.
struct Experiment {
  RunOptions options;
  std::unique_ptr<Samples> train, test;
  InputEncoding input;
  ModelOptions model;
  std::unique_ptr<SegmentTable> table;
  TrainingShape training;
  int clients = 0;
  Partition partition;
  FleetPlan fleet;
  std::vector<double> shares;  ///< per client: budget_share()
};

/// The model's shape for images of this size: options, with the patch chosen where the user gave none.
ModelOptions complete_model(const RunOptions& options, int height, int width, int channels, int classes);
/// The model's shape for texts.
ModelOptions complete_text_model(const RunOptions& options, int vocabulary, int classes);

/// `workers`: ranks that train (0 = in-process). `vocabulary`: the one to use for texts, of a checkpoint or
/// of the server; without it one is read or made as the options say. Throws Error with the exit code for what
/// is wrong.
Experiment make_experiment(const RunOptions& options, int workers,
                           const std::optional<Vocabulary>& vocabulary = std::nullopt);
/// The test part of a data set, for a checkpoint's model and encoding. Throws Error(checkpoint) where they do
/// not fit each other.
std::unique_ptr<Samples> load_test_samples(const DatasetOptions& options, const InputEncoding& input,
                                           const ModelOptions& model, const std::string& checkpoint);
/// "texts of up to 64 word pieces out of 8192".
std::string describe_input(const ModelOptions& model);

/// For LocalTrainer::Setup; the experiment must outlive it.
std::function<int(ClientId, const Assignment&)> micro_batches_of(const Experiment& experiment);

/// What the server knows of each client at the start.
std::vector<ClientRecord> client_records(const Experiment& experiment);
RunIdentity make_identity(const Experiment& experiment, const std::map<std::string, std::string>& in_effect,
                          const Checkpoint* resumed);

/// Refuses a checkpoint of another model, data set, fleet or seed, naming what differs.
void check_resumable(const Checkpoint& checkpoint, const Experiment& experiment, const std::string& path);

/// Fills a store with initial values; a core that restores a checkpoint replaces them. Where everybody trains
/// the smallest submodel, the units that nobody keeps are zero: the full model is then that submodel.
void initialize(class ModelStore& store, const Experiment& experiment);

/// Prepares the output directory: makes it, and tries to write in it. Throws Error(environment).
void prepare_output(const std::string& directory, const std::map<std::string, std::string>& in_effect,
                    bool resuming);

/// Records a run from here on, where the options ask for it; null where they do not.
std::unique_ptr<class EventLog> begin_event_log(const RunOptions& options, class ServerCore& core,
                                                double now_s, bool resuming);

/// Lines of the start block: what computes here. `threads`: how many, in words.
std::string describe_computing(const std::string& device, const std::string& threads);
/// Lines of the start block: data, model and policy, then the tables of who has which data and which
/// submodel.
std::string describe_experiment(const Experiment& experiment);

/// A table of losses and accuracies, a row an exit.
void print_exits(const std::vector<EvaluationRow>& evaluation);
/// That table and the checkpoint's path, the last lines of a run, and the run's exit code: another one where
/// no checkpoint could be written (an empty path).
ExitCode print_result(const std::vector<EvaluationRow>& evaluation, const std::string& checkpoint);

}  // namespace cos2p
