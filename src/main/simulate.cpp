#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <limits>

#include "commands.hpp"
#include "cos2p/server/server_loop.hpp"
#include "cos2p/support/blas.hpp"
#include "cos2p/support/error.hpp"
#include "cos2p/support/logging.hpp"
#include "device_times.hpp"
#include "experiment.hpp"
#include "resume.hpp"
#include "round_executors.hpp"
#include "signals.hpp"
#include "simulated_fleet.hpp"
#include "version.hpp"

namespace cos2p {

int run_simulate(const CommandLine& given) {
  CommandLine command = given;
  std::optional<Checkpoint> resumed;
  if (!given.options.resume.empty()) {
    resumed = read_checkpoint(given.options.resume);
    command = continue_options(given, *resumed);
  }
  Experiment experiment =
      make_experiment(command.options, 0, resumed ? resumed->input.vocabulary : std::nullopt);
  set_default_device(experiment);
  const RunOptions& options = experiment.options;
  if (options.simulation.clients_per_round > experiment.clients) {
    fail(
        ExitCode::usage,
        "--clients-per-round cannot be {} (there are {} clients), let at most so many take part or give more "
        "--clients",
        options.simulation.clients_per_round, experiment.clients);
  }
  if (resumed) check_resumable(*resumed, experiment, given.options.resume);
  prepare_output(options.output, command.in_effect, resumed.has_value());
  setup_logging("server", options.output + "/run.log", options.quiet);
  install_signal_handlers(false);

  const int threads = options.threads > 0 ? options.threads : usable_cores();
  ModelStore store(*experiment.table);
  initialize(store, experiment);
  StagingPool pool(std::numeric_limits<std::size_t>::max() / 2);  // before the core, which holds its buffers
  ServerCore core(*experiment.table, store,
                  {options.policy, options.rounds, options.seed, threads,
                   make_identity(experiment, command.in_effect, resumed ? &*resumed : nullptr),
                   experiment.input, client_records(experiment)});
  core.set_workers(experiment.clients);
  if (resumed) core.restore(*resumed);
  RoundExecutors executors(experiment, store, threads);
  SimulatedFleet fleet(experiment, store, core, pool, executors);
  if (resumed) {
    fleet.restore(*resumed);
  } else {
    fleet.begin_run();
  }
  Evaluator evaluator(*experiment.table, *experiment.test, options.device, options.evaluation_batch);
  say(fmt::format(
          "cos2p {}\n  ranks      none: server and {} clients in this process, on a simulated clock\n",
          kVersion, experiment.clients) +
      describe_computing(evaluator.device_name(),
                         fmt::format("{} local rounds at a time, each by one thread", threads)) +
      describe_experiment(experiment));
  RoundLog log(options.output, options.rounds, options.quiet, core.history());

  bool closed = false;
  core.on_round_closed = [&](const RoundRow& row) {
    log.round(row);
    closed = true;
  };
  core.on_dropped = [](const MessageHeader& header, UpdateVerdict verdict, const std::string& reason) {
    spdlog::warn("update of client {} (local round {}) dropped: {} ({})", header.client, header.client_round,
                 to_string(verdict), reason);
  };
  std::string path;
  std::vector<EvaluationRow> evaluation;
  std::size_t clients_logged = core.history().clients.size();
  const auto save = [&](bool evaluate, bool write) {
    Checkpoint snapshot = core.snapshot(fleet.now_s());
    if (write) fleet.save(snapshot);
    if (evaluate) {
      evaluation = evaluate_checkpoint(evaluator, snapshot);
      core.add_evaluation(evaluation);
      snapshot.history.evaluations = core.history().evaluations;
      log.evaluation(evaluation);
    }
    if (write) path = try_write_checkpoint(options.output, snapshot);
  };
  while (!core.finished() && !stop_requested() && fleet.step()) {
    if (!closed) continue;
    closed = false;
    fleet.round_closed();
    for (; clients_logged < core.history().clients.size(); ++clients_logged)
      log.client(core.history().clients[clients_logged]);
    const auto due = [&](int every) { return !core.finished() && every > 0 && core.round() % every == 0; };
    if (due(options.evaluate_every) || due(options.checkpoint_every))
      save(due(options.evaluate_every), due(options.checkpoint_every));
  }
  save(true, true);
  print_result(evaluation, path);
  return static_cast<int>(ExitCode::ok);
}

}  // namespace cos2p
